"""Render the rows of the API as metric families: names, units, labels and help texts.

A value that only grows is a counter, whose name ends in ``_total``; all others are gauges. Label
values are the names of the configuration; ``vrf`` "" is the core.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from controlplane.model import view
from pe.metrics.counters import meaning
from pe.process.loop_lag import BOUNDS, LagHistogram

PREFIX = "bulkhead_"
_SESSION = ("vrf", "neighbor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackUse:
    """Count the tracked connections of one VRF; ``limit`` 0 if unlimited."""

    vrf: str
    entries: int
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Hold all values of one scrape. ``started`` is in seconds since the epoch."""

    status: view.StatusView
    started: float
    vrfs: Iterable[view.VrfView]
    neighbors: Iterable[view.NeighborView]
    labels: Iterable[view.LabelView]
    label_block: int
    next_hops: Iterable[view.NextHopView]
    ports: Iterable[view.PortView]
    guards: Iterable[view.GuardView]
    counters: Iterable[view.CounterView]
    conntrack: Iterable[ConntrackUse]
    conntrack_table: tuple[int, int]
    """Entries and size of the connection table of this network namespace."""
    failing: int
    """Objects that the kernel refuses at present."""
    address_conflicts: int
    group_id_conflicts: int
    loop_lag: LagHistogram
    longest_collection: float
    """Seconds of the longest garbage collection yet."""
    serving: Mapping[str, bool]
    """True for each part that works now; "" is the whole node."""


def families(figures: Figures) -> Iterator[Metric]:
    """Yield every family once."""
    yield from _node(figures)
    yield from _vrfs(tuple(figures.vrfs))
    yield from _sessions(tuple(figures.neighbors))
    yield from _labels(figures)
    yield _next_hops(figures.next_hops)
    yield from _ports(tuple(figures.ports))
    yield from _guards(tuple(figures.guards))
    yield from _conntrack(figures)
    yield from _counters(figures.counters)


def _gauge(name: str, text: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=tuple(labels))


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _total(name: str, text: str, labels: Iterable[str] = ()) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=tuple(labels))


def _node(figures: Figures) -> Iterator[Metric]:
    status = figures.status
    info = _gauge("build_info", "Constant 1; the label is the version.", ("version",))
    info.add_metric((status.version,), 1)
    yield info
    started = "Start time of the process, Unix time in seconds."
    yield _single("start_time_seconds", started, figures.started)
    loaded = "Time when the running configuration was read, Unix time in seconds."
    yield _single("config_load_time_seconds", loaded, status.config_loaded)
    in_sync = "1 if the kernel has the desired state and no part fails, else 0."
    yield _single("in_sync", in_sync, float(status.in_sync))
    failing = "Objects that the kernel refuses at present; the node retries them."
    yield _single("kernel_failing_objects", failing, figures.failing)
    foreign = "Routes in VRFs' tables, rules before them and chains that other programs made."
    yield _single("kernel_foreign_objects", foreign, status.foreign)
    chains = "Statements in other programs' chains that set marks or use log groups of the node."
    yield _single("kernel_foreign_chains", chains, status.foreign_chains)
    addresses = "Addresses that are attached under different names, at this PE or others."
    yield _single("address_conflicts", addresses, figures.address_conflicts)
    ids = "Group ids that another PE gives to another group, counted for each PE."
    yield _single("group_id_conflicts", ids, figures.group_id_conflicts)
    serving = _gauge("part_serving", "1 if the part works, else 0.", ("part",))
    for part, well in figures.serving.items():
        if part:
            serving.add_metric((part,), float(well))
    yield serving
    yield _loop_lag(figures.loop_lag)
    pause = "Duration of the longest garbage collection since the start, in seconds."
    yield _single("gc_longest_pause_seconds", pause, figures.longest_collection)


def _loop_lag(lag: LagHistogram) -> Metric:
    text = "Duration of the event loop's iterations in seconds; the budget is 0.05."
    buckets, count = [], 0
    for bound, found in zip((*map(str, BOUNDS), "+Inf"), lag.counts, strict=True):
        count += found
        buckets.append((bound, float(count)))
    return HistogramMetricFamily(PREFIX + "loop_lag_seconds", text, buckets, lag.total)


def _vrfs(rows: Iterable[view.VrfView]) -> Iterator[Metric]:
    held = _gauge("vrf_routes", "Prefixes in the VRF.", ("vrf",))
    active = _gauge("vrf_routes_active", "Prefixes with a best path in the VRF.", ("vrf",))
    most = "Maximum number of prefixes in the VRF, 0 if unlimited."
    limit = _gauge("vrf_route_limit", most, ("vrf",))
    full = "Routes refused because the VRF was at its limit."
    refused = _total("vrf_routes_refused", full, ("vrf",))
    for row in rows:
        held.add_metric((row.name,), row.routes)
        active.add_metric((row.name,), row.active_routes)
        limit.add_metric((row.name,), row.route_limit)
        refused.add_metric((row.name,), row.refused_routes)
    yield from (held, active, limit, refused)


def _sessions(rows: Iterable[view.NeighborView]) -> Iterator[Metric]:
    established = "1 if the session is established, else 0."
    up = _gauge("bgp_session_up", established, (*_SESSION, "asn"))
    hold = "1 if max-prefix holds the session down, else 0."
    held = _gauge("bgp_session_held_down", hold, _SESSION)
    since = "Seconds since the session's state changed."
    age = _gauge("bgp_session_state_seconds", since, _SESSION)
    flaps = _total("bgp_session_losses", "Losses of an established session.", _SESSION)
    refused = _total("bgp_routes_refused", "Routes refused, by reason.", (*_SESSION, "reason"))
    for row in rows:
        session = (row.vrf, row.address)
        up.add_metric((*session, str(row.asn)), row.state is view.SessionState.ESTABLISHED)
        held.add_metric(session, row.state is view.SessionState.HELD_DOWN)
        if row.state_age is not None:
            age.add_metric(session, row.state_age)
        flaps.add_metric(session, row.flaps)
        for reason, count in sorted(row.refused.items()):
            refused.add_metric((*session, reason), count)
    yield from (up, held, age, flaps, refused)
    yield from _session_families(rows)


def _session_families(rows: Iterable[view.NeighborView]) -> Iterator[Metric]:
    labels = (*_SESSION, "family")
    received = _gauge("bgp_routes_received", "Routes received from the neighbour.", labels)
    stale = _gauge("bgp_routes_stale", "Stale routes of a lost session (RFC 4724).", labels)
    sent = _gauge("bgp_routes_sent", "Routes advertised to the neighbour.", labels)
    limit = _gauge("bgp_route_limit", "Max-prefix limit, 0 if unlimited.", labels)
    for row in rows:
        for family in row.families:
            key = (row.vrf, row.address, family.family)
            received.add_metric(key, family.received)
            stale.add_metric(key, family.stale)
            sent.add_metric(key, family.sent)
            limit.add_metric(key, family.limit)
    yield from (received, stale, sent, limit)


def _labels(figures: Figures) -> Iterator[Metric]:
    count = Counter(row.held_down for row in figures.labels)
    held = _gauge("labels", "Labels of the block in use and in hold-down.", ("state",))
    held.add_metric(("in-use",), count[False])
    held.add_metric(("hold-down",), count[True])
    yield held
    yield _single("label_block_size", "Labels in the node's label block.", figures.label_block)


def _next_hops(rows: Iterable[view.NextHopView]) -> Metric:
    count = Counter((row.vrf, row.reachable) for row in rows)
    found = _gauge("next_hops", "Next hops in use by routes, by reachability.", ("vrf", "state"))
    for vrf in sorted({"", *(vrf for vrf, _ in count)}):
        found.add_metric((vrf, "reachable"), count[vrf, True])
        found.add_metric((vrf, "unreachable"), count[vrf, False])
    return found


def _ports(rows: Iterable[view.PortView]) -> Iterator[Metric]:
    up = _gauge("port_up", "1 if the port forwards packets, else 0.", ("port", "vrf"))
    guarded = _gauge("port_guarded", "1 if the port's guard is in force, else 0.", ("port", "vrf"))
    for row in rows:
        up.add_metric((row.name, row.vrf), row.up)
        guarded.add_metric((row.name, row.vrf), row.guarded)
    yield from (up, guarded)


def _guards(rows: Iterable[view.GuardView]) -> Iterator[Metric]:
    labels = ("requirement", "port", "vrf", "class", "action")
    packets = _total("guard_packets", "Packets dropped by guards, by requirement.", labels)
    octets = _total("guard_bytes", "Bytes dropped by guards, by requirement.", labels)
    found: dict[tuple[str, str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:  # the same guard in two families of tables is one
        key = (row.requirement, row.port, row.vrf, row.traffic_class, row.action)
        found[key][0] += row.packets
        found[key][1] += row.bytes
    for key, (count, size) in found.items():
        packets.add_metric(key, count)
        octets.add_metric(key, size)
    yield from (packets, octets)


def _conntrack(figures: Figures) -> Iterator[Metric]:
    entries = _gauge("conntrack_entries", "Tracked connections of the VRF.", ("vrf",))
    most = "Maximum number of tracked connections of the VRF, 0 if unlimited."
    limit = _gauge("conntrack_limit", most, ("vrf",))
    for row in figures.conntrack:
        entries.add_metric((row.vrf,), row.entries)
        if row.vrf:
            limit.add_metric((row.vrf,), row.limit)
    yield from (entries, limit)
    used, size = figures.conntrack_table
    yield _single("conntrack_table_entries", "Tracked connections in the kernel's table.", used)
    yield _single("conntrack_table_size", "Size of the kernel's connection table.", size)


def _counters(rows: Iterable[view.CounterView]) -> Iterator[Metric]:
    by_name: dict[str, list[view.CounterView]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    for name, counters in by_name.items():
        labels = sorted(counters[0].labels)
        family = _total(name, meaning(name), labels)
        for row in counters:
            family.add_metric(_values(row.labels, labels), row.value)
        yield family


def _values(labels: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(labels[name] for name in names)
