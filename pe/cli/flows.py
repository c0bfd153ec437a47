"""Implement ``pe flows`` and ``pe baseline``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import EXIT_CODES, F, node_at, node_options
from pe.cli.plain import as_object, print_json
from pe.cli.policy import end_text, when
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

HEADS = ("Last", "VRF", "From", "To", "Service", "Count", "Verdict", "Rule", "Staged")


def filter_options(command: F) -> F:
    """Add the options that filter flows."""
    for option in (
        click.option("--denied", is_flag=True, help="Show denied flows only."),
        click.option("--service", default="", help="Service: tcp/443, udp, icmp/echo-request."),
        click.option("--to", "destination", default="", help="To a workload, group or address."),
        click.option("--from", "source", default="", help="From a workload, group or address."),
        click.option("--vrf", default="", help="Show this VRF only."),
    ):
        command = option(command)
    return command


def make_filter(
    vrf: str, source: str, destination: str, service: str, denied: bool, differs: bool = False
) -> pb.FlowFilter:
    """Return the filter for the options."""
    from bulkhead.v1 import flows_pb2 as pb

    wish = pb.FlowFilter(
        vrf=vrf, source=source, destination=destination, service=service, staged_differs=differs
    )
    if denied:
        wish.allowed = False
    return wish


@click.command(epilog=EXIT_CODES)
@filter_options
@click.option("--differs", is_flag=True, help="Show flows with another staged verdict only.")
@click.option("--follow", "-f", is_flag=True, help="Print new flows as they are seen.")
@click.option("-n", "limit", default=0, help="Maximum number of flows.")
@node_options
def flows(
    vrf: str, source: str, destination: str, service: str, denied: bool, differs: bool,
    follow: bool, limit: int, socket_path: str, as_json: bool,
) -> None:  # fmt: skip
    """Show flows with the enforced and the staged verdict."""
    wish = make_filter(vrf, source, destination, service, denied, differs)
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


def _follow(stream: Iterable[Any], limit: int, as_json: bool) -> None:
    for number, told in enumerate(stream, start=1):
        line = as_object(told.flow) if as_json else "  ".join(_row(told.flow))
        click.echo(line)
        if told.skipped and not as_json:
            click.echo(f"# {told.skipped} flows were too many to be shown", err=True)
        if number == limit:
            return


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
        flow.enforced.rule + (" (older flow)" if flow.older else ""),
        staged,
    )


def _verdict(ruling: pb.Ruling) -> str:
    return "allowed" if ruling.allowed else "DENIED"


def _loss(loss: pb.TelemetryLoss) -> str:
    return f"{loss.lost} flows lost by telemetry" if loss.lost else "no flow was lost by telemetry"


@click.group(epilog=EXIT_CODES)
def baseline() -> None:
    """Record and list baselines of known good flows."""


@baseline.command()
@click.argument("name")
@node_options
def record(name: str, socket_path: str, as_json: bool) -> None:
    """Record all flows seen so far as known good, under NAME."""
    with node_at(socket_path) as node:
        made = node.segment.record_baseline(name)
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
