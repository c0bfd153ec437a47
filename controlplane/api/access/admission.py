"""What stands before every RPC of every service: identity, role, limits, audit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.json_format import MessageToJson, SerializeToJsonError
from google.protobuf.message import DecodeError
from google.protobuf.text_format import MessageToString

from controlplane.api.access.audit import CHANGE, AuditedChange, AuditLog
from controlplane.api.access.caller import CALLER, Caller
from controlplane.api.access.limits import MAX_SECONDS, AtOnce, RateLimit, TooManyRequests
from controlplane.api.access.roles import RULES, AccessRule, allows
from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.api.access.status import StatusError, denied, exhausted, invalid

Context = grpc.aio.ServicerContext[Any, Any]
Identify = Callable[[Context], Caller | None]
_LONGEST_REQUEST = 4096


@dataclass(slots=True)
class Admission(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in stubs only
    """Wraps each RPC's handler; a method without a rule is refused to every caller."""

    identify: Identify
    audit: AuditLog
    rate: RateLimit
    at_once: AtOnce
    tally: RpcMetrics
    report: Callable[[str], None]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """gRPC's hook: the handler of the method, guarded."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # gRPC answers UNIMPLEMENTED
        method = str(handler_call_details.method)
        if handler.response_streaming:
            return self._streaming(handler, method)
        return self._single(handler, method)

    def _single(self, handler: Any, method: str) -> Any:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )

        async def served(raw: Any, context: Context) -> Any:
            async with self._admitted(method, handler, raw, context) as request:
                return await inner(request, context)

        return make(served, None, _serializer(handler))

    def _streaming(self, handler: Any, method: str) -> Any:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )

        # Written rather than yielded: the deadline must hold while a slow reader is waited for.
        async def served(raw: Any, context: Context) -> None:
            async with self._admitted(method, handler, raw, context) as request:
                responses = inner(request, context)
                if inspect.isawaitable(responses):  # it writes by itself, as Health.Watch does
                    await responses
                    return
                # Closed here: where the loop ends early, what a watch keeps stayed until the
                # garbage collector came.
                async with aclosing(responses):
                    async for response in responses:
                        self._check_still(context)
                        await context.write(response)

        return make(served, None, _serializer(handler))

    @asynccontextmanager
    async def _admitted(
        self, method: str, handler: Any, raw: Any, context: Context
    ) -> AsyncIterator[Any]:
        """All that stands around one call; yields its request.

        Not a byte of it is parsed before the caller is known. The caller gets its
        end after the audit log has it.
        """
        try:
            caller = self._known(context)
            with self.at_once.hold(caller.identity):
                await self._in_turn(caller)
                request = _parsed(handler, raw)
                rule = await self._permit(method, caller, request)
                CALLER.set(caller)
                async with asyncio.timeout(None if rule.lasting else MAX_SECONDS):
                    async with self._audited(method, rule, caller, request):
                        yield request
            self.tally.ended(method, grpc.StatusCode.OK)
        except asyncio.CancelledError:
            self.tally.ended(method, grpc.StatusCode.CANCELLED)
            raise
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except Exception as error:
            refusal = self._refusal(method, error)
            self.tally.ended(method, refusal.code)
            await context.abort(refusal.code, refusal.text, refusal.trailer)

    def _refusal(self, method: str, error: Exception) -> StatusError:
        """Return the status that the caller gets for an error."""
        if isinstance(error, StatusError):
            return error
        if isinstance(error, TooManyRequests):
            return exhausted("too many calls at once")
        if isinstance(error, TimeoutError):
            text = f"over {MAX_SECONDS:.0f} s"
            return StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        if isinstance(error, NotImplementedError):  # a method that gRPC's own services leave out
            return StatusError(
                grpc.StatusCode.UNIMPLEMENTED, "this node does not serve this method"
            )
        self.report(f"{method}: {error!r}")  # the text may say more than a caller should know
        return StatusError(grpc.StatusCode.INTERNAL, "internal error, see the node's log")

    def _known(self, context: Context) -> Caller:
        caller = self.identify(context)
        if caller is None:
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, "no identity")
        return caller

    async def _in_turn(self, caller: Caller) -> None:
        """Delay a caller that is faster than its rate, so that a loop of calls just works.
        Raises StatusError if too many wait already."""
        if caller.unpaced:
            return
        wait = self.rate.turn(caller.identity)
        if wait is None:
            raise exhausted("too many calls, slow down")
        if wait:
            await asyncio.sleep(wait)

    def _check_still(self, context: Context) -> None:
        """End a stream whose caller lost its rights, or whose certificate is valid no more."""
        if self.identify(context) != CALLER.get():
            raise denied("what you may do has changed; call again")

    async def _permit(self, method: str, caller: Caller, request: Any) -> AccessRule:
        rule, name = RULES.get(method), method.rpartition("/")[2]
        if rule is None:
            raise denied(f"{name} has no role that may call it")
        if allows(rule, caller.role, limited=bool(caller.vrfs)):
            return rule
        if rule.changes:
            await self._write(caller, method, request, phase="refused")
        whole = " for the whole node" if rule.whole_node and caller.vrfs else ""
        raise denied(f"{name} needs the role {rule.least.value}{whole}")

    @asynccontextmanager
    async def _audited(
        self, method: str, rule: AccessRule, caller: Caller, request: Any
    ) -> AsyncIterator[None]:
        """Write a change to the audit log before it is made, and its result after it; refuse a
        change that cannot be written."""
        if not rule.changes:
            yield
            return
        change = AuditedChange()
        CHANGE.set(change)
        try:
            await self._write(caller, method, request, phase="asked")
        except OSError as error:
            text = f"the audit log cannot be written: {error.strerror}"
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, text) from None
        except asyncio.CancelledError:  # a thread may be writing the line: it needs its end
            await self._end(caller, method, request, change, "CANCELLED")
            raise
        result = "INTERNAL"
        try:
            yield
            result = "OK"
        except StatusError as refusal:
            result = refusal.code.name
            raise
        except asyncio.CancelledError:
            result = "CANCELLED"
            raise
        finally:
            await self._end(caller, method, request, change, result)

    async def _end(
        self, caller: Caller, method: str, request: Any, change: AuditedChange, result: str
    ) -> None:
        ending = {"before": change.before, "after": change.after, "result": result}
        try:
            await asyncio.shield(self._write(caller, method, request, phase="ended", **ending))
        except OSError as error:  # the change is made: its result stands
            self.report(f"{method}: audit log: the end, {result}, is not written: {error}")

    async def _write(self, caller: Caller, method: str, request: Any, **fields: object) -> None:
        role = caller.role.value if caller.role else "none"
        text = _as_text(request)[:_LONGEST_REQUEST]
        who = {"who": caller.identity, **({"person": caller.person} if caller.person else {})}
        await self.audit.write(**who, role=role, method=method, request=text, **fields)


def _serializer(handler: Any) -> Callable[[Any], bytes]:
    """Return the serializer of a method; an answer that a compute worker encoded stays as it is."""
    inner = handler.response_serializer
    return lambda response: response if isinstance(response, bytes) else inner(response)


def _as_text(request: Any) -> str:
    """Return JSON; protobuf's own form where a value cannot be said in it, as a time with too many
    nanoseconds."""
    try:
        return MessageToJson(request, indent=None)
    except (ValueError, SerializeToJsonError):
        return MessageToString(request, as_one_line=True)


def _parsed(handler: Any, raw: Any) -> Any:
    """Return the request of a call, or the stream of its requests. Raises StatusError."""
    if handler.request_streaming:
        return _parsed_each(handler, raw)
    try:
        return handler.request_deserializer(raw)
    except DecodeError:
        raise invalid("the request is no message of this method") from None


async def _parsed_each(handler: Any, stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for raw in stream:
        try:
            yield handler.request_deserializer(raw)
        except DecodeError:
            raise invalid("the request is no message of this method") from None
