"""Implement ``pe flows`` and ``pe baseline``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import F, node_at, node_options
from pe.cli.help import Command, Group
from pe.cli.plain import as_object, print_json
from pe.cli.policy import end_text, when
from pe.cli.span import span_options
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

HEADS = ("Last", "VRF", "From", "To", "Service", "Count", "Verdict", "Rule", "Staged")
WIDTHS = (19, 10, 24, 24, 12, 5, 7, 20, 6)


def filter_options(command: F) -> F:
    """Add the options that filter flows: what ``make_filter`` takes."""
    for option in (
        click.option("--denied", is_flag=True, help="Show denied flows only."),
        click.option("--service", default="", help="Service: tcp/443, udp, icmp/echo-request."),
        click.option("--to", "destination", default="", help="To a workload, group or address."),
        click.option("--from", "source", default="", help="From a workload, group or address."),
        click.option("--vrf", default="", help="Show this VRF only."),
        span_options,
    ):
        command = option(command)
    return command


def make_filter(
    *, vrf: str, source: str, destination: str, service: str, denied: bool,
    since: datetime | None, until: datetime | None, differs: bool = False, logged: bool = False,
) -> pb.FlowFilter:  # fmt: skip
    """Return the filter for the options."""
    from bulkhead.segment import set_span
    from bulkhead.v1 import flows_pb2 as pb

    wish = pb.FlowFilter(
        vrf=vrf, source=source, destination=destination, service=service, staged_differs=differs,
        logged=logged,
    )  # fmt: skip
    if denied:
        wish.allowed = False
    set_span(wish, since, until)
    return wish


@click.command(cls=Command)
@filter_options
@click.option("--differs", is_flag=True, help="Show flows with another staged verdict only.")
@click.option("--logged", is_flag=True, help="Show flows that a log rule matched only.")
@click.option("--follow", "-f", is_flag=True, help="Print new flows as they are seen.")
@click.option("-n", "limit", default=0, help="Maximum number of flows.")
@node_options
def flows(follow: bool, limit: int, socket_path: str, as_json: bool, **options: Any) -> None:
    """Show flows with the enforced and the staged verdict."""
    wish = make_filter(**options)
    with node_at(socket_path) as node:
        if follow:
            _follow(node.segment.watch_flows(wish), limit, as_json)
            return
        pieces = list(node.segment.query_flows(wish, limit))
    rows = [flow for piece in pieces for flow in piece.flows]
    if as_json:
        print_json(rows)
        return
    show(table(HEADS, map(_row, rows), right="Count"))
    click.echo(_loss(pieces[-1].loss))


def _follow(stream: Iterable[pb.WatchFlowsResponse], limit: int, as_json: bool) -> None:
    """Print flows as they come, under one heading; losses once a second at most."""
    skipped = Skipped()
    if not as_json:
        click.echo(_aligned(HEADS))
    for number, told in enumerate(stream, start=1):
        click.echo(as_object(told.flow) if as_json else _aligned(_row(told.flow)))
        skipped.note(told.skipped, time.monotonic())
        if number == limit:
            break
    skipped.end()


class Skipped:
    """Says on standard error how many flows a slow reader was not shown: once a second at most,
    for under a flood every line had one of its own, and at the end."""

    def __init__(self) -> None:
        self._count = self._said = 0
        self._due = 0.0

    def note(self, count: int, now: float) -> None:
        """Take the number of flows skipped since the watch began; ``now`` in seconds."""
        self._count = count
        if now >= self._due and self.end():
            self._due = now + 1.0

    def end(self) -> bool:
        """Say what has not been said; return whether there was such."""
        if self._count == self._said:
            return False
        click.echo(f"# {self._count} flows were too many to be shown", err=True)
        self._said = self._count
        return True


def _aligned(cells: Sequence[str]) -> str:
    """Return a line whose columns stand under the heading unless a cell is longer than it may be:
    what comes later is not known."""
    return "  ".join(map(str.ljust, cells, WIDTHS)).rstrip()


def _row(flow: pb.Flow) -> tuple[str, ...]:
    staged = "-"
    if flow.HasField("staged"):
        same = flow.staged.allowed == flow.enforced.allowed
        staged = "same" if same else _verdict(flow.staged) + f" ({flow.staged.rule})"
    return (
        when(flow.last),
        flow.vrf,
        end_text(flow.source),
        end_text(flow.destination),
        flow.service,
        str(flow.count),
        _verdict(flow.enforced),
        _rule(flow.enforced) + _marks(flow),
        staged,
    )


def _rule(ruling: pb.Ruling) -> str:
    return f"{ruling.rule} of {ruling.revision}" if ruling.former else ruling.rule


def _marks(flow: pb.Flow) -> str:
    logged = " (logged)" if flow.enforced.logged else ""
    return logged + (" (older flow)" if flow.older else "")


def _verdict(ruling: pb.Ruling) -> str:
    return "allowed" if ruling.allowed else "DENIED"


def _loss(loss: pb.TelemetryLoss) -> str:
    return f"{loss.lost} flows lost by telemetry" if loss.lost else "no flow was lost by telemetry"


@click.group(cls=Group)
def baseline() -> None:
    """Record and list baselines of known good flows."""


@baseline.command()
@click.argument("name")
@span_options
@node_options
def record(
    name: str, since: datetime | None, until: datetime | None, socket_path: str, as_json: bool
) -> None:
    """Record the flows seen, all or those of a span of time, as known good, under NAME."""
    with node_at(socket_path) as node:
        made = node.segment.record_baseline(name, since, until)
    one = made.baseline
    pruned = f"; pruned for it: {', '.join(made.pruned)}" if made.pruned else ""
    line = f"{name}: {one.flows} flows, {one.lost} lost{pruned}"
    click.echo(as_object(made) if as_json else line)


@baseline.command("list")
@node_options
def list_baselines(socket_path: str, as_json: bool) -> None:
    """List baselines."""
    with node_at(socket_path) as node:
        rows = node.segment.baselines()
    lines = table(
        ("Baseline", "Since", "Until", "Flows", "Lost", "By"),
        [
            (r.name, when(r.since), when(r.until), str(r.flows), str(r.lost), r.recorded_by)
            for r in rows
        ],
        right="Flows,Lost",
    )
    print_json(rows) if as_json else show(lines)
