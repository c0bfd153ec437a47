"""The Node service: what a caller may see of the view, as messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeVar

import grpc
from bulkhead.v1 import node_pb2 as pb
from bulkhead.v1 import node_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import fitting
from controlplane.api.access.status import StatusError, denied, invalid, not_found
from controlplane.api.services import messages
from controlplane.model.name_list import name_list, those
from controlplane.model.peer import PeerId
from controlplane.model.prefix import parse_address, parse_prefix
from controlplane.model.route_view import RouteFilter, RouteTable, RouteView
from controlplane.model.view import (
    GuardView,
    LabelView,
    NeighborView,
    NextHopView,
    NodeView,
    PortView,
    ReloadIncompleteError,
    ReloadRefusedError,
)

ROUTES_PER_MESSAGE = 500
_LONGEST_STATUS = 3000  # a status travels in a header, and clients take 8 KiB of those

_MOST_PLACES = 5  # VRFs that an error names: many CEs may have the same address

Context = grpc.aio.ServicerContext[Any, Any]
Row = TypeVar("Row", LabelView, NextHopView, PortView, GuardView)


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
        found = False
        for piece in _pieces(rows, ROUTES_PER_MESSAGE):
            found = True
            yield pb.ShowRoutesResponse(routes=map(messages.route, piece))
            await asyncio.sleep(0)
        if not found and request.vrf and request.prefix and not request.neighbor:
            whole = not CALLER.get().vrfs  # who sees all VPNs
            reasons = self._view.absence(request.vrf, request.prefix, core=whole)
            yield pb.ShowRoutesResponse(absent=reasons)

    async def ShowLabels(
        self, request: pb.ShowLabelsRequest, context: Context
    ) -> pb.ShowLabelsResponse:
        """Return the labels of the caller's VRFs."""
        rows = _visible(self._view.labels())
        return pb.ShowLabelsResponse(labels=map(messages.label, rows))

    async def ShowNextHops(
        self, request: pb.ShowNextHopsRequest, context: Context
    ) -> pb.ShowNextHopsResponse:
        """Return the caller's next hops: those in the core are the provider's own."""
        rows = _visible(self._view.next_hops())
        return pb.ShowNextHopsResponse(next_hops=map(messages.next_hop, rows))

    async def ShowPorts(
        self, request: pb.ShowPortsRequest, context: Context
    ) -> pb.ShowPortsResponse:
        """Return the caller's ports."""
        rows = _visible(self._view.ports())
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
        rows = _visible(await self._view.guards(), request.vrf)
        return pb.ShowGuardsResponse(guards=map(messages.guard, rows))

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Apply the file again, one reload at a time."""
        async with self._changing:
            try:
                report = await self._view.reload()
            except ReloadRefusedError as error:
                CHANGE.get().after = f"refused: {len(error.errors)} errors"
                raise invalid(fitting(error.errors, "errors", _LONGEST_STATUS)) from None
            except ReloadIncompleteError as error:
                CHANGE.get().after = f"incomplete: {'; '.join(error.errors)}"
                left = fitting(error.errors, "errors", _LONGEST_STATUS)
                text = f"the configuration is in force, except for: {left}"
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
            names = self._elsewhere(peer) or self._neighbours_of(peer.vrf)
            raise not_found(f"there is no neighbour {peer}{place}{names}")
        CHANGE.get().before = before.state.value
        async with self._changing:
            await self._view.clear_neighbor(peer)
        CHANGE.get().after = "reset"
        return pb.ClearNeighborResponse()

    def _elsewhere(self, peer: PeerId) -> str:
        """Say in which VRFs of the caller's a neighbour of this address is."""
        rows = [row for row in self._neighbors("") if row.address == str(peer.address)]
        places = [f"VRF {row.vrf}" if row.vrf else "the core" for row in rows]
        if not places:
            return ""
        cure = next((f" (--vrf {row.vrf})" for row in rows if row.vrf), "")
        return f"; {peer.address} is a neighbour in {name_list(places, _MOST_PLACES)}{cure}"

    def _neighbours_of(self, *vrfs: str) -> str:
        """Say which neighbours of VRFs ("": the core) the caller sees; without any, all."""
        rows = (row for row in self._neighbors("") if not vrfs or row.vrf in vrfs)
        return those("neighbours", (row.address for row in rows))

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
            names = self._neighbours_of(*(("", request.vrf) if request.vrf else ()))
            raise not_found(f"there is no neighbour {address}{place}{names}")

    def _check_vrf(self, vrf: str, *, core: bool = False) -> None:
        """Refuse a VRF that the caller may not see before saying whether it exists."""
        if (vrf or core) and not CALLER.get().may_see(vrf):
            place = f"VRF {vrf}" if vrf else "the core"
            raise denied(f"{place} is not yours")
        vrfs = list(self._view.vrfs()) if vrf else []
        if vrf and all(row.name != vrf for row in vrfs):
            raise not_found(f"there is no VRF {vrf}{those('VRFs', (v.name for v in vrfs))}")


def _visible(rows: Iterable[Row], vrf: str = "") -> Iterator[Row]:
    """Yield the rows of VRFs that the caller may see; of one VRF if it is named."""
    caller = CALLER.get()
    return (row for row in rows if caller.may_see(row.vrf) and vrf in ("", row.vrf))


def _check_addresses(request: pb.ShowRoutesRequest) -> None:
    try:
        if request.prefix:
            parse_prefix(request.prefix)
        if request.neighbor:
            parse_address(request.neighbor)
        elif request.table:
            raise ValueError("received and advertised routes are a neighbour's: which neighbour?")
        if request.table not in _TABLES:
            raise ValueError(f"there is no table {request.table}")
    except ValueError as error:
        raise invalid(str(error)) from None


def _names(row: NeighborView, peer: PeerId) -> bool:
    return row.vrf == peer.vrf and row.address == str(peer.address)


_TABLES = {
    pb.ShowRoutesRequest.TABLE_UNSPECIFIED: RouteTable.VRF,
    pb.ShowRoutesRequest.TABLE_RECEIVED: RouteTable.RECEIVED,
    pb.ShowRoutesRequest.TABLE_ADVERTISED: RouteTable.ADVERTISED,
}


def _filters(request: pb.ShowRoutesRequest) -> Iterator[RouteFilter]:
    limited = sorted(CALLER.get().vrfs)
    for vrf in [request.vrf] if request.vrf or not limited else limited:
        yield RouteFilter(
            vrf=vrf,
            prefix=request.prefix,
            longer=request.longer,
            all_paths=request.all_paths,
            neighbor=request.neighbor,
            table=_TABLES[request.table],
            core=not limited,
        )


def _pieces(rows: Iterable[RouteView], size: int) -> Iterator[list[RouteView]]:
    rows = iter(rows)
    while piece := list(islice(rows, size)):
        yield piece
