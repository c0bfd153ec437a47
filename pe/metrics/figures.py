"""From the rows of the API to metric families: names, units, labels and what they mean.

What only grows is a counter whose name ends in ``_total``; everything else is a gauge as it is at
the moment. Labels have the names of the configuration: ``vrf`` "" is the core.
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
    """Connections that one VRF has in the kernel's table; ``limit`` 0 for none."""

    vrf: str
    entries: int
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that is told at one scrape. ``started`` is in seconds since the epoch."""

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
    """Entries and room of the whole table of this network namespace."""
    failing: int
    """Objects that the kernel refuses at present."""
    loop_lag: LagHistogram
    serving: Mapping[str, bool]
    """True for each part that does its work now; "" is the whole node."""


def families(figures: Figures) -> Iterator[Metric]:
    """Every family, each once."""
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
    info = _gauge("build_info", "1, with the version as label.", ("version",))
    info.add_metric((status.version,), 1)
    yield info
    yield _single("start_time_seconds", "When the process started, Unix time.", figures.started)
    loaded = "When the configuration in force was read, Unix time."
    yield _single("config_load_time_seconds", loaded, status.config_loaded)
    in_sync = "1 while the kernel holds all that it should and nothing that it should not."
    yield _single("in_sync", in_sync, float(status.in_sync))
    failing = "Objects that the kernel refuses at present; they are tried again."
    yield _single("kernel_failing_objects", failing, figures.failing)
    serving = _gauge("part_serving", "1 while the part does its work.", ("part",))
    for part, well in figures.serving.items():
        if part:
            serving.add_metric((part,), float(well))
    yield serving
    yield _loop_lag(figures.loop_lag)


def _loop_lag(lag: LagHistogram) -> Metric:
    text = "Iterations of the event loop by how long they made others wait; the budget is 0.05."
    buckets, count = [], 0
    for bound, found in zip((*map(str, BOUNDS), "+Inf"), lag.counts, strict=True):
        count += found
        buckets.append((bound, float(count)))
    return HistogramMetricFamily(PREFIX + "loop_lag_seconds", text, buckets, lag.total)


def _vrfs(rows: Iterable[view.VrfView]) -> Iterator[Metric]:
    held = _gauge("vrf_routes", "Prefixes in the VRF.", ("vrf",))
    active = _gauge("vrf_routes_active", "Those of them with a best path.", ("vrf",))
    limit = _gauge("vrf_route_limit", "The most prefixes that the VRF takes, 0: any.", ("vrf",))
    refused = _total("vrf_routes_refused", "Routes that found the VRF full.", ("vrf",))
    for row in rows:
        held.add_metric((row.name,), row.routes)
        active.add_metric((row.name,), row.active_routes)
        limit.add_metric((row.name,), row.route_limit)
        refused.add_metric((row.name,), row.refused_routes)
    yield from (held, active, limit, refused)


def _sessions(rows: Iterable[view.NeighborView]) -> Iterator[Metric]:
    up = _gauge("bgp_session_up", "1 while the session is established.", (*_SESSION, "asn"))
    held = _gauge("bgp_session_held_down", "1 while max-prefix keeps it down.", _SESSION)
    age = _gauge("bgp_session_state_seconds", "Time since its state changed.", _SESSION)
    flaps = _total("bgp_session_losses", "Times that it was lost.", _SESSION)
    refused = _total("bgp_routes_refused", "Routes refused, by the reason.", (*_SESSION, "reason"))
    for row in rows:
        who = (row.vrf, row.address)
        up.add_metric((*who, str(row.asn)), row.state is view.SessionState.ESTABLISHED)
        held.add_metric(who, row.state is view.SessionState.HELD_DOWN)
        if row.state_age is not None:
            age.add_metric(who, row.state_age)
        flaps.add_metric(who, row.flaps)
        for reason, count in sorted(row.refused.items()):
            refused.add_metric((*who, reason), count)
    yield from (up, held, age, flaps, refused)
    yield from _session_families(rows)


def _session_families(rows: Iterable[view.NeighborView]) -> Iterator[Metric]:
    labels = (*_SESSION, "family")
    received = _gauge("bgp_routes_received", "Routes held of the neighbour.", labels)
    stale = _gauge("bgp_routes_stale", "Those kept from a session that was lost.", labels)
    sent = _gauge("bgp_routes_sent", "Routes that it was told.", labels)
    limit = _gauge("bgp_route_limit", "Its max-prefix, 0: none.", labels)
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
    held = _gauge("labels", "Labels of the block that are given out, or rest.", ("state",))
    held.add_metric(("in-use",), count[False])
    held.add_metric(("resting",), count[True])
    yield held
    yield _single("label_block_size", "Labels in the block.", figures.label_block)


def _next_hops(rows: Iterable[view.NextHopView]) -> Metric:
    count = Counter((row.vrf, row.reachable) for row in rows)
    found = _gauge("next_hops", "Next hops that routes use.", ("vrf", "state"))
    for vrf in sorted({"", *(vrf for vrf, _ in count)}):
        found.add_metric((vrf, "reachable"), count[vrf, True])
        found.add_metric((vrf, "unreachable"), count[vrf, False])
    return found


def _ports(rows: Iterable[view.PortView]) -> Iterator[Metric]:
    up = _gauge("port_up", "1 while the port carries packets where it should.", ("port", "vrf"))
    guarded = _gauge("port_guarded", "1 while its guard is in force.", ("port", "vrf"))
    for row in rows:
        up.add_metric((row.name, row.vrf), row.up)
        guarded.add_metric((row.name, row.vrf), row.guarded)
    yield from (up, guarded)


def _guards(rows: Iterable[view.GuardView]) -> Iterator[Metric]:
    labels = ("requirement", "port", "vrf", "class", "action")
    packets = _total("guard_packets", "Packets dropped, by the requirement kept.", labels)
    octets = _total("guard_bytes", "Bytes of them.", labels)
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
    entries = _gauge("conntrack_entries", "Connections tracked of the VRF.", ("vrf",))
    limit = _gauge("conntrack_limit", "The most that it may have, 0: any.", ("vrf",))
    for row in figures.conntrack:
        entries.add_metric((row.vrf,), row.entries)
        if row.vrf:
            limit.add_metric((row.vrf,), row.limit)
    yield from (entries, limit)
    used, room = figures.conntrack_table
    yield _single("conntrack_table_entries", "Connections tracked in all.", used)
    yield _single("conntrack_table_size", "The kernel's limit for all of them.", room)


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
