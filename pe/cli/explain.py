"""Implement ``pe explain`` and ``pe evidence``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import node_at, node_options
from pe.cli.help import Command
from pe.cli.plain import as_object
from pe.cli.policy import end_text, when
from pe.cli.span import span_options
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import evidence_pb2, policy_pb2


@click.command(cls=Command)
@click.argument("source")
@click.argument("destination")
@click.argument("service")
@click.option("--vrf", default="", help="VRF; required if neither end is a workload's name.")
@node_options
def explain(
    source: str, destination: str, service: str, vrf: str, socket_path: str, as_json: bool
) -> None:
    """Explain which rule allows or denies SERVICE (tcp/443) from SOURCE to DESTINATION."""
    with node_at(socket_path) as node:
        answer = node.segment.explain(source, destination, service, vrf)
    click.echo(as_object(answer)) if as_json else show(_chain(answer))


def _chain(answer: policy_pb2.ExplainResponse) -> Iterator[str]:
    yield f"comes in at  {answer.ingress_port or '-'}"
    yield f"VRF          {answer.vrf}"
    target = f", imported by {answer.route_target}" if answer.route_target else ""
    yield f"route        {answer.route_prefix or 'none'}{target}"
    labels = f", labels {'/'.join(map(str, answer.labels))}" if answer.labels else ""
    yield f"leaves by    {answer.next_hop or '-'}{labels}"
    yield f"source       {_who(answer.source)}"
    yield f"destination  {_who(answer.destination)}"
    yield from _judged("enforced", answer.enforced_steps, answer.enforced)
    yield f"  because {answer.reason}"
    if answer.HasField("staged"):
        yield from _judged("staged", answer.staged_steps, answer.staged)


def _judged(name: str, steps: Iterable[Any], ruling: Any) -> Iterator[str]:
    yield f"{name}:"
    for step in steps:
        yield f"  {step.rule:<22} {step.sentence}  -> {step.answer}"
    yield f"  {'ALLOWED' if ruling.allowed else 'DENIED'} by {ruling.rule}"


def _who(end: Any) -> str:
    names = ", ".join([*end.groups, *end.networks]) or "in no group"
    return f"{end.workload or '(no workload here)'} {end.address}: {names}"


@click.command(cls=Command)
@click.option(
    "--tag",
    "selector",
    required=True,
    metavar="SELECTOR",
    help="Workloads to report on, for example scope=pci.",
)
@span_options
@node_options
def evidence(
    selector: str, since: datetime | None, until: datetime | None, socket_path: str, as_json: bool
) -> None:
    """Report policy and traffic evidence for the workloads that match a selector."""
    with node_at(socket_path) as node:
        answer = node.segment.get_evidence(selector, since, until)
    click.echo(as_object(answer)) if as_json else show(_report(answer))


def _report(answer: evidence_pb2.GetEvidenceResponse) -> Iterator[str]:
    yield f"Evidence for {answer.selector} at {answer.node}, made {when(answer.made_at)} UTC"
    yield f"covers {when(answer.since)} to {when(answer.until)}"
    yield f"enforced revision {answer.revision[:12] or 'none'}"
    lost = answer.loss.lost
    yield f"telemetry: {lost} flows lost" if lost else "telemetry: no flow lost"
    yield from _section(
        "Members",
        ("Member", "VRF", "Prefixes", "At"),
        [(m.workload or "-", m.vrf, " ".join(m.prefixes), m.node or "here")
         for m in answer.members],
    )  # fmt: skip
    yield from _section(
        "Allowed",
        ("From", "To", "Service", "Rule", "Count", "Last hit"),
        [(p.source, p.destination, p.service, p.rule, str(p.count), when(p.last_hit))
         for p in answer.allowed],
    )  # fmt: skip
    yield from _section(
        "Denied attempts",
        ("From", "To", "Service", "Rule", "Count", "First", "Last"),
        [(end_text(d.source), end_text(d.destination), d.service, d.rule, str(d.count),
          when(d.first), when(d.last)) for d in answer.denied],
    )  # fmt: skip
    yield from _section(
        "Policy changes",
        ("When", "Move", "Before", "After", "Who", "Why"),
        [(when(c.when), c.move, c.before[:12] or "-", c.after[:12] or "-", c.who, c.why or "-")
         for c in answer.changes],
    )  # fmt: skip
    yield from _section(
        "Membership changes",
        ("When", "Workload", "Change", "Before", "After", "Who"),
        [(when(c.when), c.workload, c.change, c.before or "-", c.after or "-", c.who)
         for c in answer.membership_changes],
    )  # fmt: skip


def _section(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    yield f"{title} ({len(rows)})"
    if rows:
        yield from table(heads, rows)
