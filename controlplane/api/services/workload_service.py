"""The Workloads service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from bulkhead.v1 import workloads_pb2 as pb
from bulkhead.v1 import workloads_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import refusal
from controlplane.api.access.status import StatusError, denied, exhausted, not_found
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import refuse_vrf
from controlplane.api.answers.selectors import read_selector
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.services.queries import Encoded, Queries
from controlplane.model.attachment import Attachment, summary
from controlplane.model.name_list import those
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload
from controlplane.policy.endpoints.placement import (
    Fault,
    RefusedError,
    Why,
    refuse_malformed,
    tag_faults,
)
from controlplane.policy.endpoints.registry import places
from controlplane.policy.insight.queries import groups_of
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.selector import Selector, matches
from controlplane.policy.state import HOLD_DOWN_SECONDS

WATCH_ROOM = 10_000
MATCHED_AT_ONCE = 100
"""Workloads that are compared with a selector of the greatest length in a few milliseconds."""
WITHOUT_POLICY = (
    "this node enforces no policy, so the workload is in no group here or on other nodes; workloads"
    " there that are in groups are pending here, so denied: stage and promote the fleet's policy"
)
HELD_DOWN = f"in hold-down: denied for {HOLD_DOWN_SECONDS:.0f} s unless it is claimed"
Context = grpc.aio.ServicerContext[Any, Any]

_EVENTS = {
    "attached": pb.WatchWorkloadsResponse.EVENT_ATTACHED,
    "changed": pb.WatchWorkloadsResponse.EVENT_CHANGED,
    "detached": pb.WatchWorkloadsResponse.EVENT_DETACHED,
}


class WorkloadService(workloads_pb2_grpc.WorkloadsServicer):
    """Attaches, tags and lists; every method runs with ``CALLER`` set by admission."""

    def __init__(self, controller: PolicyAccess, queries: Queries) -> None:
        self._controller = controller
        self._queries = queries

    async def AttachWorkload(
        self, request: pb.AttachWorkloadRequest, context: Context
    ) -> pb.AttachWorkloadResponse:
        """Make a workload known, or what it was before into what is given."""
        wanted = request.workload
        _refuse_other_vrf(wanted.vrf)
        known = self._known(wanted.name)
        if known is not None:
            _refuse_taken_name(known)
            CHANGE.get().before = summary(known.workload)
        try:
            workload = _read(wanted)
            attachment, enforced = await self._controller.attach(workload, CALLER.get().signature)
        except RefusedError as error:
            raise refusal(error) from None
        CHANGE.get().after = summary(attachment.workload)
        without = self._controller.state.ledger.in_state(State.ENFORCED) is None
        return pb.AttachWorkloadResponse(
            workload=self._message(attachment),
            enforced=enforced,
            removed=self._removed(known, attachment),
            warning=WITHOUT_POLICY if without else "",
        )

    async def DetachWorkload(
        self, request: pb.DetachWorkloadRequest, context: Context
    ) -> pb.DetachWorkloadResponse:
        """Forget a workload."""
        known = self._known(request.name)
        if known is None or not CALLER.get().may_see(known.workload.vrf):
            return pb.DetachWorkloadResponse()  # there is no such workload for this caller
        CHANGE.get().before = summary(known.workload)
        try:
            await self._controller.detach(request.name, CALLER.get().signature)
        except RefusedError as error:
            raise refusal(error) from None
        held_down = [*self._held_down(known.workload)]
        return pb.DetachWorkloadResponse(
            detached=True, held_down=held_down,
            hold_down_seconds=int(HOLD_DOWN_SECONDS) if held_down else 0,
        )  # fmt: skip

    def _held_down(self, workload: Workload) -> Iterator[str]:
        """Yield the addresses that a workload had and no other endpoint has."""
        for place in places(workload):
            if place in self._controller.state.population.held_down:
                yield messages.short(str(place[1]))

    async def TagWorkload(
        self, request: pb.TagWorkloadRequest, context: Context
    ) -> pb.TagWorkloadResponse:
        """Change the tags of one workload."""
        known = self._visible(request.name)
        CHANGE.get().before = summary(known.workload)
        set_ = dict(request.set)
        try:
            faults = tag_faults("set", set_)
            if both := sorted(set_.keys() & set(request.unset)):
                faults.append(Fault("unset", f"{both[0]} is to be set as well"))
            if faults:
                raise RefusedError(Why.MALFORMED, *faults)
            attachment = await self._controller.tag(
                request.name,
                set_,
                tuple(request.unset),
                request.expected_generation,
                CALLER.get().signature,
            )
        except RefusedError as error:
            raise refusal(error) from None
        CHANGE.get().after = summary(attachment.workload)
        return pb.TagWorkloadResponse(workload=self._message(attachment))

    async def GetWorkload(
        self, request: pb.GetWorkloadRequest, context: Context
    ) -> pb.GetWorkloadResponse:
        """Return one workload."""
        return pb.GetWorkloadResponse(workload=self._message(self._visible(request.name)))

    async def ListWorkloads(self, request: pb.ListWorkloadsRequest, context: Context) -> Encoded:
        """Return the workloads that match."""
        return await self._queries.answer("ListWorkloads", request)

    async def WatchWorkloads(
        self, request: pb.WatchWorkloadsRequest, context: Context
    ) -> AsyncIterator[pb.WatchWorkloadsResponse]:
        """Yield what is there, then what changes."""
        refuse_vrf(request.vrf, {vrf.name for vrf in self._controller.intent.vrfs})
        selector, queue = read_selector(request.selector), _Queue()
        self._controller.on_change.append(queue.put)
        try:
            present = sorted(self._controller.state.population.attachments.items())
            sent: set[str] = set()
            for number, (name, attachment) in enumerate(present, start=1):
                if _fits(attachment, request.vrf, selector):
                    sent.add(name)
                    yield self._event(pb.WatchWorkloadsResponse.EVENT_PRESENT, attachment)
                if number % MATCHED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # what changes meanwhile is in the queue
            yield pb.WatchWorkloadsResponse(event=pb.WatchWorkloadsResponse.EVENT_SYNCED)
            while True:
                change, attachment = await queue.get()
                response = self._changed(change, attachment, request.vrf, selector, sent)
                if response is not None:
                    yield response
        finally:
            self._controller.on_change.remove(queue.put)

    def _changed(
        self,
        change: str,
        attachment: Attachment,
        vrf: str,
        selector: Selector | None,
        sent: set[str],
    ) -> pb.WatchWorkloadsResponse | None:
        """Return what a watcher receives: a workload that matches no longer is detached for it."""
        name = attachment.workload.name
        fits = change != "detached" and _fits(attachment, vrf, selector)
        if not fits:
            if name not in sent:
                return None
            sent.discard(name)
            return self._event(_EVENTS["detached"], attachment)
        kind = "changed" if name in sent else "attached"
        sent.add(name)
        return self._event(_EVENTS[kind], attachment)

    def _event(
        self, event: pb.WatchWorkloadsResponse.Event, attachment: Attachment
    ) -> pb.WatchWorkloadsResponse:
        return pb.WatchWorkloadsResponse(event=event, workload=self._message(attachment))

    def _message(self, attachment: Attachment) -> pb.Workload:
        state = self._controller.state
        policy = state.policy(Slot.ENFORCED) or Policy()
        groups = groups_of(policy, attachment.workload)
        return messages.workload(attachment, groups, state.population)

    def _removed(self, known: Attachment | None, attachment: Attachment) -> Iterator[str]:
        """Yield what a workload had before and has no more."""
        if known is None:
            return
        before, after = known.workload, attachment.workload
        for key, value in sorted(before.tags.items()):
            if key not in after.tags:
                yield f"tag {key}={value}"
        held_down = {*self._held_down(before)}
        for prefix in before.addresses:
            if prefix not in after.addresses:
                address = messages.short(str(prefix))
                yield f"address {address}" + (f" ({HELD_DOWN})" if address in held_down else "")

    def _known(self, name: str) -> Attachment | None:
        return self._controller.state.population.attachments.get(name)

    def _visible(self, name: str) -> Attachment:
        known = self._known(name)
        if known is None or not CALLER.get().may_see(known.workload.vrf):
            held = self._controller.state.population.attachments
            here = (n for n, a in held.items() if CALLER.get().may_see(a.workload.vrf))
            raise not_found(f"there is no workload {name!r}{those('workloads', here)}")
        return known


class _Queue:
    """Changes for one watcher; too many at once end the watch."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str, Attachment]] = asyncio.Queue(WATCH_ROOM)
        self._overrun = False

    def put(self, change: str, attachment: Attachment) -> None:
        if self._queue.full():
            self._overrun = True
        else:
            self._queue.put_nowait((change, attachment))

    async def get(self) -> tuple[str, Attachment]:
        if self._overrun and self._queue.empty():
            raise exhausted("read too slowly to receive every change: begin anew")
        return await self._queue.get()


def _fits(attachment: Attachment, vrf: str, selector: Selector | None) -> bool:
    workload = attachment.workload
    if (vrf and workload.vrf != vrf) or not CALLER.get().may_see(workload.vrf):
        return False
    return selector is None or matches(selector, workload.tags)


def _read(wanted: pb.Workload) -> Workload:
    texts = list(wanted.addresses)
    bare = Workload(wanted.name, wanted.vrf, wanted.port, (), dict(wanted.tags))
    refuse_malformed(bare, texts)
    addresses = tuple(dict.fromkeys(map(parse_prefix, texts)))
    return Workload(wanted.name, wanted.vrf, wanted.port, addresses, dict(wanted.tags))


def _refuse_other_vrf(vrf: str) -> None:
    if not CALLER.get().may_see(vrf):
        raise denied(f"VRF {vrf} is not yours")


def _refuse_taken_name(known: Attachment) -> None:
    """Refuse a name that a workload of another VRF has: names are unique on the node, and more than
    that it cannot be had is not said."""
    if not CALLER.get().may_see(known.workload.vrf):
        text = f"the name {known.workload.name!r} is not available on this node: choose another"
        raise StatusError(grpc.StatusCode.ALREADY_EXISTS, text)
