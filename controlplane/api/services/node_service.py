"""The Node service: what a caller may see of the view, as messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import grpc
from bulkhead.v1 import node_pb2 as pb
from bulkhead.v1 import node_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import StatusError, denied, invalid, not_found
from controlplane.api.services import messages
from controlplane.model.peer import PeerId
from controlplane.model.prefix import parse_address, parse_prefix
from controlplane.model.view import (
    NeighborView,
    NodeView,
    ReloadIncompleteError,
    ReloadRefusedError,
    RouteFilter,
    RouteView,
)

ROUTES_PER_MESSAGE = 500
_LONGEST_STATUS = 3000  # a status travels in a header, and clients take 8 KiB of those

_MOST_PLACES = 5  # VRFs that an error names: many CEs may have the same address

Context = grpc.aio.ServicerContext[Any, Any]


class NodeService(node_pb2_grpc.NodeServicer):
    """Serves one node's view. Every method runs with ``CALLER`` set by admission."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._changing = asyncio.Lock()

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        """Return the node as a whole; a caller with some VRFs learns no core address."""
        status = messages.status(self._view.status())
        if CALLER.get().vrfs:
            return pb.GetStatusResponse(
                name=status.name, version=status.version, in_sync=status.in_sync
            )
        return status

    async def ShowVrfs(self, request: pb.ShowVrfsRequest, context: Context) -> pb.ShowVrfsResponse:
        """Return the caller's VRFs."""
        caller = CALLER.get()
        rows = (row for row in self._view.vrfs() if caller.may_see(row.name))
        return pb.ShowVrfsResponse(vrfs=map(messages.vrf, rows))

    async def ShowNeighbors(
        self, request: pb.ShowNeighborsRequest, context: Context
    ) -> pb.ShowNeighborsResponse:
        """Return the caller's sessions."""
        self._check_vrf(request.vrf)
        rows = self._neighbors(request.vrf, core_only=request.core_only)
        return pb.ShowNeighborsResponse(neighbors=map(messages.neighbor, rows))

    def _neighbors(self, vrf: str, *, core_only: bool = False) -> Iterator[NeighborView]:
        caller = CALLER.get()
        for row in self._view.neighbors():
            wanted = not row.vrf if core_only else not vrf or row.vrf == vrf
            if wanted and caller.may_see(row.vrf):
                yield row

    async def ShowRoutes(
        self, request: pb.ShowRoutesRequest, context: Context
    ) -> AsyncIterator[pb.ShowRoutesResponse]:
        """Yield the caller's routes, some hundred at a time; other work goes on in between."""
        self._check_vrf(request.vrf)
        _check_addresses(request)
        self._check_neighbor(request)
        rows = chain.from_iterable(map(self._view.routes, _filters(request)))
        for piece in _pieces(rows, ROUTES_PER_MESSAGE):
            yield pb.ShowRoutesResponse(routes=map(messages.route, piece))
            await asyncio.sleep(0)

    async def ShowLabels(
        self, request: pb.ShowLabelsRequest, context: Context
    ) -> pb.ShowLabelsResponse:
        """Return the labels of the caller's VRFs."""
        caller = CALLER.get()
        rows = (row for row in self._view.labels() if caller.may_see(row.vrf))
        return pb.ShowLabelsResponse(labels=map(messages.label, rows))

    async def ShowNextHops(
        self, request: pb.ShowNextHopsRequest, context: Context
    ) -> pb.ShowNextHopsResponse:
        """Return the caller's next hops: those in the core are the provider's own."""
        caller = CALLER.get()
        rows = (row for row in self._view.next_hops() if caller.may_see(row.vrf))
        return pb.ShowNextHopsResponse(next_hops=map(messages.next_hop, rows))

    async def ShowPorts(
        self, request: pb.ShowPortsRequest, context: Context
    ) -> pb.ShowPortsResponse:
        """Return the caller's ports."""
        caller = CALLER.get()
        rows = (row for row in self._view.ports() if caller.may_see(row.vrf))
        return pb.ShowPortsResponse(ports=map(messages.port, rows))

    async def ShowCounters(
        self, request: pb.ShowCountersRequest, context: Context
    ) -> pb.ShowCountersResponse:
        """Return the node's counters."""
        return pb.ShowCountersResponse(counters=map(messages.counter, self._view.counters()))

    async def ShowGuards(
        self, request: pb.ShowGuardsRequest, context: Context
    ) -> pb.ShowGuardsResponse:
        """Return the guards of the caller's ports."""
        self._check_vrf(request.vrf)
        caller = CALLER.get()
        rows = (
            row
            for row in await self._view.guards()
            if caller.may_see(row.vrf) and (not request.vrf or row.vrf == request.vrf)
        )
        return pb.ShowGuardsResponse(guards=map(messages.guard, rows))

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Apply the file again, one reload at a time."""
        async with self._changing:
            try:
                report = await self._view.reload()
            except ReloadRefusedError as error:
                CHANGE.get().after = f"refused: {len(error.errors)} errors"
                raise invalid(_fitting(error.errors)) from None
            except ReloadIncompleteError as error:
                CHANGE.get().after = f"incomplete: {'; '.join(error.errors)}"
                text = "the configuration is in force, except for: " + _fitting(error.errors)
                raise StatusError(grpc.StatusCode.INTERNAL, text) from None
        CHANGE.get().after = "; ".join(report.changes)
        return pb.ReloadResponse(changes=report.changes, warnings=report.warnings)

    async def ClearNeighbor(
        self, request: pb.ClearNeighborRequest, context: Context
    ) -> pb.ClearNeighborResponse:
        """Reset one session; a caller with some VRFs can reset theirs alone."""
        self._check_vrf(request.vrf, core=True)
        try:
            peer = PeerId(request.vrf, parse_address(request.address))
        except ValueError as error:
            raise invalid(str(error)) from None
        before = next((r for r in self._neighbors("") if _names(r, peer)), None)
        if before is None:
            place = "" if peer.vrf else " in the core"
            raise not_found(f"there is no neighbour {peer}{place}{self._elsewhere(peer)}")
        CHANGE.get().before = before.state.value
        async with self._changing:
            await self._view.clear_neighbor(peer)
        CHANGE.get().after = "reset"
        return pb.ClearNeighborResponse()

    def _elsewhere(self, peer: PeerId) -> str:
        """Say in which VRFs of the caller's a neighbour of this address is."""
        rows = [row for row in self._neighbors("") if row.address == str(peer.address)]
        places = [f"VRF {row.vrf}" if row.vrf else "the core" for row in rows]
        if len(places) > _MOST_PLACES:
            places[_MOST_PLACES:] = [f"{len(places) - _MOST_PLACES} more"]
        return f"; {peer.address} is a neighbour in {', '.join(places)}" if places else ""

    def _check_neighbor(self, request: pb.ShowRoutesRequest) -> None:
        if not request.neighbor:
            return
        address = str(parse_address(request.neighbor))
        # A VRF has routes of its own neighbours and of those of the core.
        if not any(
            row.address == address and row.vrf in ("", request.vrf or row.vrf)
            for row in self._neighbors("")
        ):
            place = f" of VRF {request.vrf}" if request.vrf else ""
            raise not_found(f"there is no neighbour {address}{place}")

    def _check_vrf(self, vrf: str, *, core: bool = False) -> None:
        """Refuse a VRF that the caller may not see before saying whether it exists."""
        if (vrf or core) and not CALLER.get().may_see(vrf):
            place = f"VRF {vrf}" if vrf else "the core"
            raise denied(f"{place} is not yours")
        if vrf and all(row.name != vrf for row in self._view.vrfs()):
            raise not_found(f"there is no VRF {vrf}")


def _check_addresses(request: pb.ShowRoutesRequest) -> None:
    try:
        if request.prefix:
            parse_prefix(request.prefix)
        if request.neighbor:
            parse_address(request.neighbor)
    except ValueError as error:
        raise invalid(str(error)) from None


def _names(row: NeighborView, peer: PeerId) -> bool:
    return row.vrf == peer.vrf and row.address == str(peer.address)


def _filters(request: pb.ShowRoutesRequest) -> Iterator[RouteFilter]:
    limited = sorted(CALLER.get().vrfs)
    for vrf in [request.vrf] if request.vrf or not limited else limited:
        yield RouteFilter(
            vrf=vrf,
            prefix=request.prefix,
            longer=request.longer,
            all_paths=request.all_paths,
            neighbor=request.neighbor,
        )


def _pieces(rows: Iterable[RouteView], size: int) -> Iterator[list[RouteView]]:
    rows = iter(rows)
    while piece := list(islice(rows, size)):
        yield piece


def _fitting(errors: tuple[str, ...]) -> str:
    """As many whole lines as a status can hold."""
    taken, room = [], _LONGEST_STATUS
    for line in errors:
        room -= len(line.encode()) + 1
        if room < 0:
            taken.append(f"... {len(errors)} errors in all")
            break
        taken.append(line)
    return "\n".join(taken)
