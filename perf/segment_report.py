"""The page's part on microsegmentation: tables, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from perf import segment_world as world
from perf.segment_names import (
    AGAIN,
    CHANGES_PLOT,
    FEW,
    NEW,
    PACES_PLOT,
    PLAIN,
    TOLD,
    TRACKED,
    policy_name,
)
from perf.segment_pairs import Ratio, percentile, ratio
from perf.segment_results import Fleet, Pace, SegmentRun, TelemetryRun

_PACES = """\
### Packets a second

60-byte UDP from the kernel's packet generator, from a CE through a PE into the core, where a label
is pushed; generator, PE and receiver share the lab kernel's one CPU. Every configuration has a PE
of its own, and in each round each of them gets the same burst, one right after the other: what is
compared are figures of the same round, and the shares are the middle of all rounds, in brackets
between what nine of ten rounds lie. *p99* is what 99 % of the rounds reach. *Few*: {few:,} packets
of 1,000 connections that are established, over and over. *New*: every packet opens a flow, to any
of the workloads; under one rule to as many addresses as the largest policy has. *Told*: the same,
while a process of the node receives and counts a record of every flow, on the same CPU; packets
that do not get through for that are left out. *Neither*: a VRF without a policy, with guards,
which is
not tracked. *{tracked}*: zones, tracking, `ct state
established,related accept` and one rule for what is new. *{again}* is the same thing
a second time: what differs there is chance. A list has a rule for each address that may be asked,
one after the other, behind the same `established` rule.
"""

_TIMES = """\
### Changes

*A tag, from the call*: two PEs with a BGP session between them (`pe run`, ExaBGP, over a core
that knows labels only), {workloads:,} workloads attached to the first over gRPC, whose routes and
groups the second one has learned ({elements:,} elements in its maps). One workload after the other
changes its tier by one gRPC call, a fifth of a second after the last. Every {probe:.0f} ms, a probe
packet of a new flow is sent to it on a port that only the old tag allows and on one that only the
new tag allows, at either PE; *enforced* is when, counted from before the call, what the new one
allows arrives and what only the old one allowed does not any more. At the remote PE they are caught
as they leave into the core.
Attaching all took {attach:.0f} s, one after the other; {learn:.0f} s later the other PE's kernel
held them.
"""

_TABLES = """\
*Verdict tables alone* are a change without a node around it: compiled, and brought into the
kernel. The nft program is given the same addresses, each time right after. A rebuild deletes and
makes everything in one transaction, while {rate:,.0f} flows a second are opened, half of them
forbidden; the nft program loads the same table from a file.
"""

_TELEMETRY = """\
### Telemetry

Denied flows, so that each packet is a new one, from the kernel's packet generator ten times a
second; *seen* and *lost* are what the node's book of flows says afterwards.
"""


def section(run: SegmentRun | None) -> list[str]:
    """Parts of the page, in Markdown."""
    if run is None:
        return []
    parts = ["## Microsegmentation\n", *_pace_parts(run.paces), *_time_parts(run)]
    if run.telemetry:
        parts += [_TELEMETRY, _telemetry_runs(run.telemetry)]
    if run.failure:
        parts.append(f"### Failed\n\n```\n{run.failure}\n```\n")
    return [part for part in parts if part]


def _pace_parts(paces: Sequence[Pace]) -> list[str]:
    if not paces:
        return []
    packets = next((p.sent // len(p.rounds) for p in paces if p.flows == FEW), 0)
    method = _PACES.format(few=packets, tracked=TRACKED, again=AGAIN)
    plot = f"![Packets a second]({PACES_PLOT})\n"
    return [method, plot, _few(paces), _new(paces, NEW), _new(paces, TOLD)]


def _few(paces: Sequence[Pace]) -> str:
    few = {pace.name: pace for pace in paces if pace.flows == FEW}
    head = ("few flows", "elements", "median", "p99", "ns a packet", f"of {TRACKED}", "of neither")
    rows = [
        (
            name,
            f"{pace.size:,}",
            f"{median(pace.rounds):,.0f}/s",
            f"{slow(pace):,.0f}/s",
            f"{1e9 / median(pace.rounds):,.0f}",
            share(pace, few.get(TRACKED)),
            share(pace, few.get(PLAIN)),
        )
        for name, pace in few.items()
    ]
    return _rows(head, rows) + _arrivals(few.values())


def _new(paces: Sequence[Pace], flows: str) -> str:
    found = {pace.name: pace for pace in paces if pace.flows == flows}
    other = TRACKED if flows == NEW else policy_name(max(world.SIZES))
    title = "new flows" if flows == NEW else "new flows, told"
    head = (title, "elements", "median", "p99", "ns a packet", f"of {other}")
    rows = [
        (
            name,
            f"{pace.size:,}",
            f"{median(pace.rounds):,.0f}/s",
            f"{slow(pace):,.0f}/s",
            f"{1e9 / median(pace.rounds):,.0f}",
            share(pace, found.get(other)),
        )
        for name, pace in found.items()
    ]
    return _rows(head, rows) + _arrivals(found.values()) if rows else ""


def _arrivals(paces: Iterable[Pace]) -> str:
    short = [f"{p.name}: {p.sent - p.arrived:,} of {p.sent:,}" for p in paces if p.arrived < p.sent]
    return f"\nDid not arrive: {'; '.join(short)}.\n" if short else "\nEvery packet arrived.\n"


def slow(pace: Pace) -> float:
    """What 99 % of the rounds reach."""
    return percentile(pace.rounds, 0.01)


def share(pace: Pace, other: Pace | None) -> str:
    """A pace as a share of another one, with its spread."""
    if other is None or pace is other:
        return ""
    return words(ratio(pace, other))


def words(found: Ratio) -> str:
    """A ratio to read."""
    return f"{found.middle:.3f} ({found.low:.2f}-{found.high:.2f})"


def _time_parts(run: SegmentRun) -> list[str]:
    rows: list[Sequence[str]] = []
    parts: list[str] = []
    if run.fleet:
        parts += [_fleet_method(run.fleet), f"![How soon]({CHANGES_PLOT})\n"]
        changes = run.fleet.changes
        rows += [
            _times("a tag, from the call: answered", [c.answered for c in changes]),
            _times("a tag, from the call: enforced at the PE called", [c.here for c in changes]),
            _times("a tag, from the call: enforced at the remote PE", [c.there for c in changes]),
        ]
    if run.changes:
        found = run.changes
        rows += [
            _times("a tag, verdict tables alone", found.enforced),
            _times("of it compiling", found.compiled),
            _times("the same addresses, nft program", found.by_program),
        ]
    if run.rebuild:
        rows += [
            _times(f"rebuild of {run.rebuild.elements:,} elements", run.rebuild.seconds),
            _times("the same table, nft program", run.rebuild.by_program),
        ]
    if rows:
        parts.append(_rows(("", "times", "median", "p99", "slowest"), rows))
    if run.rebuild:
        parts.append(_TABLES.format(rate=run.rebuild.rate))
    return parts


def _fleet_method(fleet: Fleet) -> str:
    return _TIMES.format(
        workloads=fleet.workloads, elements=fleet.elements, probe=fleet.probe_seconds * 1000,
        attach=fleet.attach_seconds, learn=fleet.learn_seconds,
    )  # fmt: skip


def _times(name: str, times: Sequence[float]) -> Sequence[str]:
    return (name, str(len(times)), ms(median(times)), ms(percentile(times, 0.99)), ms(max(times)))


def _telemetry_runs(telemetry_runs: Sequence[TelemetryRun]) -> str:
    rows = [
        (
            f"{telemetry.rate:,.0f}" + (", a revision staged" if telemetry.staged else ""),
            f"{telemetry.sent:,}",
            f"{telemetry.seen:,}",
            f"{telemetry.lost:,}",
            f"{telemetry.cpu / telemetry.seconds:.0%}",
        )
        for telemetry in telemetry_runs
    ]
    return _rows(("new flows/s", "sent", "seen", "lost", "CPU of the reader"), rows)


def ms(seconds: float) -> str:
    """A time to read."""
    return f"{seconds * 1000:.1f} ms"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
