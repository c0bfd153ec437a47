"""Serve the API's queries from the live node."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Protocol

from controlplane.api.access.audit_chain import AUDIT_LOG
from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.model.events import PeerCleared
from controlplane.model.intent import NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.revision import State
from controlplane.model.route_view import RouteFilter, RouteView
from controlplane.model.view import (
    CounterView,
    GuardView,
    LabelView,
    NeighborView,
    NextHopView,
    PortView,
    ReloadReport,
    StatusView,
    VrfView,
)
from controlplane.speaker.pool import SpeakerPool
from pe.dataplane.reconciler import DataplaneReconciler
from pe.metrics.figures import ConntrackUse, Figures
from pe.node import Node
from pe.observe.conntrack import ConntrackCensus, table_use
from pe.observe.tcp_signatures import SignatureDrops, signature_drops
from pe.policy.manager import PolicyMapManager
from pe.process import clock
from pe.process.gc_tuning import Heap
from pe.process.journal import Journal
from pe.process.loop_lag import LagHistogram
from pe.supervisor import Supervisor
from pe.view.absence import absence
from pe.view.counters import api_counters, part_counters, segment_counters, speaker_counters
from pe.view.health import NodeHealth
from pe.view.ports import port_rows
from pe.view.routes import route_rows
from pe.view.sessions import neighbor_rows
from pe.view.tables import label_rows, next_hop_rows, vrf_rows

LEFT_OUT_SHOWN = 20
"""Left-out routes that the status names."""


class Reloader(Protocol):
    """Reload the configuration (``pe.launch.Reloader``)."""

    intent: NodeIntent
    loaded: float

    @property
    def file(self) -> str:
        """Return the path of the configuration file."""
        ...

    async def reload(self) -> ReloadReport:
        """Apply the file. Raises ReloadRefusedError and ReloadIncompleteError."""
        ...


class LiveView:
    """Implement ``NodeView`` over the running parts, on the node's loop, without blocking."""

    def __init__(
        self, node: Node, actor: DataplaneReconciler, speakers: SpeakerPool, reloader: Reloader,
        maps: PolicyMapManager, tally: RpcMetrics, journal: Journal, health: NodeHealth,
        supervisor: Supervisor, lag: LagHistogram, heap: Heap,
    ) -> None:  # fmt: skip
        self._node = node
        self._router = node.router
        self._actor = actor
        self._speakers = speakers
        self._reloader = reloader
        self._maps = maps
        self._tally = tally
        self._journal = journal
        self._health = health
        self._supervisor = supervisor
        self._lag, self._heap = lag, heap
        self._census = ConntrackCensus()
        self._signature_drops = signature_drops().total

    def status(self) -> StatusView:
        """Return the node's status."""
        intent = self._reloader.intent
        policy = self._router.policy.state
        enforced = policy.ledger.in_state(State.ENFORCED)
        held_down = policy.population.held_down
        last = max(held_down.values(), default=0.0) - clock.boot_now().seconds
        return StatusView(
            name=intent.name,
            version=version("bulkhead"),
            router_id=str(intent.router_id),
            asn=intent.asn,
            loopbacks=tuple(map(str, intent.loopbacks)),
            uptime=self._node.uptime,
            in_sync=self._health.in_sync,
            failing=tuple(self._health.failing()),
            config_file=self._reloader.file,
            config_loaded=self._reloader.loaded,
            label_block=str(intent.label_block),
            left_out=len(self._router.left_out),
            left_out_routes=tuple(map(str, islice(self._router.left_out, LEFT_OUT_SHOWN))),
            foreign=len(self._actor.foreign),
            foreign_objects=self._actor.foreign.shown(LEFT_OUT_SHOWN),
            foreign_chains=len(self._actor.foreign.chains),
            flow_log_problem=self._maps.flow_log.problem,
            enforced_revision=enforced.digest if enforced else "",
            workloads=len(policy.population.attachments),
            held_down=len(held_down),
            hold_down=max(last, 0.0),
            audit_log=str(Path(intent.state_dir).resolve() / AUDIT_LOG),
        )

    def vrfs(self) -> Iterable[VrfView]:
        """Return every VRF."""
        return vrf_rows(self._router)

    def neighbors(self) -> Iterable[NeighborView]:
        """Return every session."""
        return self._neighbors(signature_drops())

    def _neighbors(self, drops: SignatureDrops) -> Iterable[NeighborView]:
        since = drops.total - self._signature_drops
        return neighbor_rows(self._router, self._speakers.snapshot(), time.monotonic(), since)

    def routes(self, wanted: RouteFilter) -> Iterable[RouteView]:
        """Return the routes that pass the filter."""
        return route_rows(self._router, self._actor.state, wanted, time.monotonic())

    def absence(self, vrf: str, prefix: str, *, core: bool) -> Iterable[str]:
        """Return why a VRF has no route to a prefix."""
        router = self._router
        found = router.vrfs.get(vrf)
        return absence(router, found, prefix, time.monotonic(), core=core) if found else ()

    def labels(self) -> Iterable[LabelView]:
        """Return every label in use or in hold-down."""
        return label_rows(self._router, clock.boot_now())

    def next_hops(self) -> Iterable[NextHopView]:
        """Return every next hop."""
        return next_hop_rows(self._router, self._actor.state.next_hop_ids())

    def ports(self) -> Iterable[PortView]:
        """Return every port."""
        return port_rows(self._reloader.intent, self._actor)

    def counters(self) -> Iterable[CounterView]:
        """Return the node's own counters."""
        return self._counters(signature_drops())

    def _counters(self, drops: SignatureDrops) -> Iterator[CounterView]:
        yield from self._actor.state.counters()
        yield from speaker_counters(self._speakers)
        yield from segment_counters(self._router.policy, self._maps)
        yield from api_counters(self._tally)
        yield from part_counters(self._supervisor)
        yield CounterView(name="journal_lines_dropped", value=self._journal.dropped)
        yield CounterView(name="tcp_md5_missing", value=drops.missing)
        yield CounterView(name="tcp_md5_unexpected", value=drops.unexpected)
        yield CounterView(name="tcp_md5_wrong", value=drops.wrong)

    async def figures(self) -> Figures:
        """Return everything for one scrape of the metrics, taken now. Raises OSError."""
        intent, drops = self._reloader.intent, signature_drops()
        return Figures(
            status=self.status(),
            started=self._node.started,
            vrfs=tuple(self.vrfs()),
            neighbors=tuple(self._neighbors(drops)),
            labels=tuple(self.labels()),
            label_block=intent.label_block.last - intent.label_block.first + 1,
            next_hops=tuple(self.next_hops()),
            ports=tuple(self.ports()),
            guards=tuple(await self.guards()),
            counters=tuple(self._counters(drops)),
            conntrack=self._conntrack(await self._census.by_zone()),
            conntrack_table=table_use(),
            failing=len(self._actor.failures()),
            address_conflicts=len(self._router.policy.conflicts.addresses),
            group_id_conflicts=self._router.policy.conflicts.group_ids,
            loop_lag=self._lag,
            longest_collection=self._heap.longest_pause,
            serving=self.serving(),
        )

    def _conntrack(self, by_zone: Mapping[int, int]) -> tuple[ConntrackUse, ...]:
        rows = [
            ConntrackUse(vrf=name, entries=by_zone.get(vrf.zone, 0),
                         limit=vrf.intent.conntrack_limit)
            for name, vrf in sorted(self._router.vrfs.items())
        ]  # fmt: skip
        ours = sum(row.entries for row in rows)
        return (ConntrackUse(vrf="", entries=sum(by_zone.values()) - ours), *rows)

    async def guards(self) -> Iterable[GuardView]:
        """Return the guards' counters, read from the kernel."""
        return await self._actor.state.guards()

    def serving(self) -> Mapping[str, bool]:
        """Return True for each part that works now, by name; "" is the whole node."""
        return self._health.serving()

    async def reload(self) -> ReloadReport:
        """Read the configuration file again and apply it. Raises ReloadRefusedError, and
        ReloadIncompleteError if a part of the node did not take it."""
        return await self._reloader.reload()

    async def clear_neighbor(self, peer: PeerId) -> None:
        """Reset a session. Raises KeyError if there is none of that name."""
        if peer not in self._router.peers:
            raise KeyError(peer)
        self._node.queue.put([PeerCleared(peer)])
