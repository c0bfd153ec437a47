"""Brings the API up: over a Unix socket always, over TCP with mutual TLS where configured."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import grpc
from bulkhead.v1 import node_pb2, node_pb2_grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from controlplane.api.access.admission import Admission
from controlplane.api.access.audit import AuditLog
from controlplane.api.access.audit_chain import AUDIT_LOG, Anchor
from controlplane.api.access.caller import Caller, UnixPeer, certified_caller, local_caller
from controlplane.api.access.certificate_names import UnusableNamesError, names_of
from controlplane.api.access.limits import (
    CHANNEL_OPTIONS,
    MAX_RPCS,
    MAX_RPCS_PER_CALLER,
    AtOnce,
    RateLimit,
)
from controlplane.api.access.listener import AcceptProxy, tcp_listener, unix_listener
from controlplane.api.access.revocation import Revocation
from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.api.access.status import StatusError
from controlplane.api.access.tls import Certificates
from controlplane.api.services.health_service import HealthService
from controlplane.api.services.node_service import NodeService
from controlplane.model.intent import ApiGrant, NodeIntent, TcpApiIntent
from controlplane.model.supervision import Part
from controlplane.model.view import NodeView

SOCKET = "api.sock"
_INNER = "api-inner"
_NOTES = ""
"""No caller's name: the journal's share of the rate limit."""
GRACE_SECONDS = 1.0

Context = grpc.aio.ServicerContext[Any, Any]
AddServices = Callable[[grpc.aio.Server], Iterable[str]]


class LogWriter(Protocol):
    """Where the server reports: one line per event."""

    def info(self, event: str, **fields: object) -> object:
        """Log at level INFO."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Log at level WARNING."""
        ...


@dataclass(slots=True)
class _Endpoint:
    """One gRPC server behind one proxy."""

    proxy: AcceptProxy
    server: grpc.aio.Server

    async def close(self) -> None:
        await self.server.stop(GRACE_SECONDS)
        await self.proxy.close()


@dataclass(slots=True)
class ApiServer:
    """The API of one node, until ``stop``."""

    view: NodeView
    intent: NodeIntent
    journal: LogWriter
    part: Part
    config_folder: Path = Path()
    more_services: AddServices | None = None
    tally: RpcMetrics = field(default_factory=RpcMetrics)
    _audit: AuditLog = field(init=False)
    _rate: RateLimit = field(default_factory=RateLimit)
    _at_once: AtOnce = field(default_factory=lambda: AtOnce(MAX_RPCS_PER_CALLER, MAX_RPCS))
    _grants: tuple[ApiGrant, ...] = ()
    _local: _Endpoint | None = None
    _remote: _Endpoint | None = None
    _listening: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        path = Path(self.intent.state_dir) / AUDIT_LOG
        self._audit = AuditLog(path, anchor=self._anchor, tally=self.tally, part=self.part)

    def _anchor(self, last: Anchor) -> None:
        """Keep the end of the audit log where who can write the log cannot."""
        self.journal.info("audit_anchor", line=last.number, digest=last.digest)

    @property
    def socket(self) -> Path:
        """Where ``pe show`` finds this node."""
        return Path(self.intent.run_dir) / SOCKET

    async def start(self) -> None:
        """Listen. Raises OSError if the Unix socket cannot be had."""
        self._make_folders()
        inner = self._inner_folder / "local.sock"
        proxy = AcceptProxy(inner, self.part)
        server = await self._build(lambda context: _local(proxy, context))
        server.add_insecure_port(f"unix:{inner}")
        await server.start()
        await proxy.listen(unix_listener(self.socket, self.intent.socket_mode))
        self._local = _Endpoint(proxy, server)
        self.journal.info("api_listening", socket=str(self.socket))
        try:
            await self._start_remote(self.intent.tcp_api)
        except OSError as error:  # ssl.SSLError is one
            self.journal.warning("api_tcp_not_listening", reason=str(error))

    async def apply(self, intent: NodeIntent) -> None:
        """Take over a changed configuration: grants, socket mode, the TCP listener.

        Raises OSError for what could not be had; the next reload tries it again. Grants come
        first: one that was taken away must not stay because a later step fails.
        """
        self.intent = intent
        self._grants = intent.tcp_api.grants if intent.tcp_api else ()
        self.socket.chmod(intent.socket_mode)
        if _listener(intent.tcp_api) != self._listening:
            if self._remote:
                remote, self._remote, self._listening = self._remote, None, ()
                await remote.close()
            await self._start_remote(intent.tcp_api)

    async def stop(self) -> None:
        """Let running calls end (a second), then close every connection."""
        for endpoint in (self._remote, self._local):
            if endpoint:
                await endpoint.close()
        self._audit.leave_anchor()
        self.socket.unlink(missing_ok=True)
        shutil.rmtree(self._inner_folder, ignore_errors=True)

    @property
    def _inner_folder(self) -> Path:
        return Path(self.intent.run_dir) / _INNER

    def _make_folders(self) -> None:
        """Keep gRPC's own sockets where this user alone enters: the proxy is the way in."""
        Path(self.intent.run_dir).mkdir(parents=True, exist_ok=True)
        Path(self.intent.state_dir).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._inner_folder, ignore_errors=True)
        self._inner_folder.mkdir(mode=0o700)

    async def _build(self, identify: Callable[[Context], Caller | None]) -> grpc.aio.Server:
        admission = Admission(
            identify, self._audit, self._rate, self._at_once, self.tally, self._failed
        )
        server = grpc.aio.server(
            interceptors=[admission], options=CHANNEL_OPTIONS, maximum_concurrent_rpcs=MAX_RPCS
        )
        node_pb2_grpc.add_NodeServicer_to_server(NodeService(self.view), server)
        names = [node_pb2.DESCRIPTOR.services_by_name["Node"].full_name]
        if self.more_services:
            names += self.more_services(server)
        health_pb2_grpc.add_HealthServicer_to_server(
            HealthService(self.view.serving, names), server
        )
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        return server

    async def _start_remote(self, tcp: TcpApiIntent | None) -> None:
        """Open the TCP listener. Raises OSError, if its certificates are missing for example."""
        if tcp is None:
            return
        self._grants = tcp.grants
        inner = self._inner_folder / "remote.sock"
        inner.unlink(missing_ok=True)
        proxy = AcceptProxy(inner, self.part)
        certificates = Certificates(tcp, self.config_folder, self._report)
        credentials, listener = certificates.credentials(), tcp_listener(tcp)
        crl = self.config_folder / tcp.client_crl if tcp.client_crl else None
        revocation = Revocation(crl, self.config_folder / tcp.client_ca, self._report_revocation)
        server = await self._build(lambda context: self._certified(context, revocation))
        server.add_secure_port(f"unix:{inner}", credentials)
        await server.start()
        await proxy.listen(listener)
        self._remote, self._listening = _Endpoint(proxy, server), _listener(tcp)
        self.journal.info("api_listening", address=str(tcp.address), port=tcp.port)

    def _certified(self, context: Context, revocation: Revocation) -> Caller | None:
        """Return the caller that the certificate names. Raises StatusError if it is revoked."""
        auth = context.auth_context()
        if list(auth.get("transport_security_type", ())) != [b"ssl"]:
            return None
        pem = b"".join(auth.get("x509_pem_cert", ()))
        try:
            caller = certified_caller(names_of(pem), self._grants)
        except UnusableNamesError as error:
            self._refuse_certificate("no name", str(error))
        if objection := revocation.objection(pem):
            self._refuse_certificate(caller.identity, objection)
        return caller

    def _refuse_certificate(self, who: str, reason: str) -> NoReturn:
        if self._rate.take(_NOTES):
            self.journal.warning("api_certificate_refused", who=who, reason=reason)
        raise StatusError(grpc.StatusCode.UNAUTHENTICATED, reason)

    def _report_revocation(self, text: str) -> None:
        self.journal.warning("api_revocation", reason=text)

    def _failed(self, text: str) -> None:
        self.journal.warning("api_call_failed", reason=text)

    def _report(self, text: str) -> None:
        with contextlib.suppress(Exception):  # a gRPC thread calls; its handshake must go on
            self.journal.warning("api_certificates", reason=text)


async def serve_api(
    view: NodeView,
    intent: NodeIntent,
    journal: LogWriter,
    *,
    part: Part,
    config_folder: Path = Path(),
    more_services: AddServices | None = None,
    tally: RpcMetrics | None = None,
) -> ApiServer:
    """Start the API and return it; ``stop`` it at the end, ``apply`` each accepted reload.

    ``config_folder`` is where relative certificate paths begin. ``more_services`` adds further
    services to each server and returns their full names; their methods need a rule in ``roles``.
    Calls are counted in ``tally``; ``part`` owns the connections.
    """
    server = ApiServer(
        view, intent, journal, part, config_folder, more_services, tally or RpcMetrics()
    )
    await server.start()
    return server


def both(one: AddServices, other: AddServices) -> AddServices:
    """Adds the services of two to each server."""
    return lambda server: [*one(server), *other(server)]


def _listener(tcp: TcpApiIntent | None) -> tuple[object, ...]:
    """Return what a listener cannot change while it is open."""
    if tcp is None:
        return ()
    files = (tcp.certificate, tcp.key, tcp.client_ca, tcp.client_crl)
    return (tcp.address, tcp.port, tcp.bind_device, *files)


def _local(proxy: AcceptProxy, context: Context) -> Caller | None:
    peer = proxy.peer(context.peer())
    return local_caller(peer) if isinstance(peer, UnixPeer) else None
