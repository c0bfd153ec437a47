"""A client of three lines::

    from bulkhead.client import connect
    with connect() as node:
        print([vrf.name for vrf in node.show_vrfs()])

Messages are those of ``proto/bulkhead/v1``. A failed call raises ``grpc.RpcError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

# gRPC's core would explain failed connections on standard error, in its own words.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402 - after the line that it reads

from bulkhead.segment import Segment  # noqa: E402
from bulkhead.v1 import node_pb2 as pb  # noqa: E402
from bulkhead.v1 import node_pb2_grpc, selftest_pb2, selftest_pb2_grpc  # noqa: E402

DEFAULT_SOCKET = "/run/bulkhead/api.sock"
SOCKET_VARIABLE = "BULKHEAD_SOCKET"
NETNS_FIELD = "{netns}"
NAMESPACES = Path("/run/netns")
_LARGEST_MESSAGE = 16 << 20


def default_socket() -> str:
    """Return the socket of this machine's node: $BULKHEAD_SOCKET, or /run/bulkhead/api.sock."""
    return expand_socket(os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)


def expand_socket(path: str) -> str:
    """Replace ``{netns}`` with the name of the network namespace that the caller runs in.

    The name is that of ``ip netns``; a namespace without one, the machine's own among them,
    leaves the path as it is. So one value of $BULKHEAD_SOCKET serves several nodes.
    """
    if NETNS_FIELD not in path:
        return path
    own = os.stat("/proc/self/ns/net")
    for name in NAMESPACES.iterdir() if NAMESPACES.is_dir() else ():
        found = name.stat()
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return path.replace(NETNS_FIELD, name.name)
    return path


@dataclass(frozen=True)
class Tls:
    """Files for mutual TLS: who we are, and whom we believe."""

    certificate: Path
    key: Path
    server_ca: Path


def connect(target: str = "", *, tls: Tls | None = None, timeout: float = 60.0) -> Node:
    """A client of the node at ``target``: a socket's path, or HOST:PORT with ``tls``.

    Nothing is sent before the first call. ``timeout`` is that of each call, in seconds.
    """
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE)]
    if tls is None:
        address = f"unix:{expand_socket(target) or default_socket()}"
        return Node(grpc.insecure_channel(address, options=options), timeout)
    credentials = grpc.ssl_channel_credentials(
        tls.server_ca.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )
    return Node(grpc.secure_channel(target, credentials, options=options), timeout)


class Routes:
    """Routes as they arrive. ``absent``: why there are none at the prefix, once all are read."""

    def __init__(self, pieces: Iterable[pb.ShowRoutesResponse]) -> None:
        self.absent: list[str] = []
        self._routes = self._read(pieces)

    def __iter__(self) -> Iterator[pb.Route]:
        return self._routes

    def __next__(self) -> pb.Route:
        return next(self._routes)

    def _read(self, pieces: Iterable[pb.ShowRoutesResponse]) -> Iterator[pb.Route]:
        for piece in pieces:
            self.absent += piece.absent
            yield from piece.routes


class Node:
    """One node's API; each method is one call. Close it, or use it in a ``with``."""

    def __init__(self, channel: grpc.Channel, timeout: float) -> None:
        self.channel = channel
        self.timeout = timeout
        self._stub: Any = node_pb2_grpc.NodeStub(channel)
        #: Workloads, groups, policy, flows and evidence.
        self.segment = Segment(channel, timeout)

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.channel.close()

    def status(self) -> pb.GetStatusResponse:
        """The node as a whole."""
        answer = self._stub.GetStatus(pb.GetStatusRequest(), timeout=self.timeout)
        return cast(pb.GetStatusResponse, answer)

    def show_vrfs(self) -> list[pb.Vrf]:
        """The VPNs at this node."""
        return list(self._stub.ShowVrfs(pb.ShowVrfsRequest(), timeout=self.timeout).vrfs)

    def show_neighbors(self, vrf: str = "", *, core_only: bool = False) -> list[pb.Neighbor]:
        """BGP sessions: all, those of a VRF, or those of the core."""
        request = pb.ShowNeighborsRequest(vrf=vrf, core_only=core_only)
        return list(self._stub.ShowNeighbors(request, timeout=self.timeout).neighbors)

    def show_routes(
        self,
        vrf: str = "",
        prefix: str = "",
        *,
        longer: bool = False,
        all_paths: bool = False,
        neighbor: str = "",
        table: pb.ShowRoutesRequest.Table = pb.ShowRoutesRequest.TABLE_UNSPECIFIED,
    ) -> Routes:
        """Routes as they arrive; the fields of ``ShowRoutesRequest`` choose which."""
        request = pb.ShowRoutesRequest(
            vrf=vrf, prefix=prefix, longer=longer, all_paths=all_paths, neighbor=neighbor,
            table=table,
        )  # fmt: skip
        return Routes(self._stub.ShowRoutes(request, timeout=self.timeout))

    def why_no_route(self, vrf: str, prefix: str) -> list[str]:
        """Why a VRF has no route at a prefix; empty where it has one."""
        routes = self.show_routes(vrf, prefix)
        for _ in routes:
            pass
        return routes.absent

    def show_labels(self) -> list[pb.Label]:
        """Labels that the node gave out."""
        return list(self._stub.ShowLabels(pb.ShowLabelsRequest(), timeout=self.timeout).labels)

    def show_next_hops(self) -> list[pb.NextHop]:
        """Next hops and the ways to them."""
        answer = self._stub.ShowNextHops(pb.ShowNextHopsRequest(), timeout=self.timeout)
        return list(answer.next_hops)

    def show_ports(self) -> list[pb.Port]:
        """CE and core ports."""
        return list(self._stub.ShowPorts(pb.ShowPortsRequest(), timeout=self.timeout).ports)

    def show_counters(self) -> list[pb.Counter]:
        """What the node counts about itself."""
        answer = self._stub.ShowCounters(pb.ShowCountersRequest(), timeout=self.timeout)
        return list(answer.counters)

    def show_guards(self, vrf: str = "") -> list[pb.Guard]:
        """What the guards dropped and let in."""
        request = pb.ShowGuardsRequest(vrf=vrf)
        return list(self._stub.ShowGuards(request, timeout=self.timeout).guards)

    def reload(self) -> pb.ReloadResponse:
        """Have the configuration file read again."""
        answer = self._stub.Reload(pb.ReloadRequest(), timeout=self.timeout)
        return cast(pb.ReloadResponse, answer)

    def selftest(self) -> selftest_pb2.RunSelftestResponse:
        """Have the node prove its guards; takes some seconds."""
        stub: Any = selftest_pb2_grpc.SelftestStub(self.channel)
        answer = stub.RunSelftest(selftest_pb2.RunSelftestRequest(), timeout=self.timeout)
        return cast(selftest_pb2.RunSelftestResponse, answer)

    def clear_neighbor(self, address: str, vrf: str = "") -> None:
        """Reset a BGP session."""
        request = pb.ClearNeighborRequest(vrf=vrf, address=address)
        self._stub.ClearNeighbor(request, timeout=self.timeout)
