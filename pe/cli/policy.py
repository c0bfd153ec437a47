"""Implement ``pe policy``: check, stage, promote and roll back revisions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import fail, node_at, node_options
from pe.cli.help import Group
from pe.cli.plain import as_object, print_json
from pe.cli.policy_check import check, print_problems
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import policy_pb2 as pb

REASON = click.option("-m", "--reason", default="", help="Reason, for the audit log.")


@click.group(cls=Group)
def policy() -> None:
    """Check, compare, stage, promote and roll back policy.

    A DOCUMENT is YAML or JSON; - reads standard input. A REVISION is the beginning of its digest.
    """


policy.add_command(check)


def _what(text: str) -> dict[str, str]:
    """Return a file's content, or a revision where there is no such file."""
    from pathlib import Path

    if text == "-":
        return {"document": sys.stdin.read()}
    if Path(text).is_file():
        return {"document": Path(text).read_text()}
    if len(text) < 4 or any(letter not in "0123456789abcdef" for letter in text):
        fail(f"{text}: neither a file nor a revision", 2)
    return {"revision": text}


@policy.command()
@click.argument("what", metavar="DOCUMENT|REVISION")
@click.option("--baseline", default="", help="Evaluate the flows of this baseline.")
@node_options
def whatif(what: str, baseline: str, socket_path: str, as_json: bool) -> None:
    """Show what would change if a document or revision were enforced."""
    with node_at(socket_path) as node:
        answer = node.segment.what_if(**_what(what), baseline=baseline)
    if as_json:
        click.echo(as_object(answer))
        return
    print_problems(answer.warnings, "warning")
    show(_effects(answer))


def _effects(answer: pb.WhatIfResponse) -> Iterator[str]:
    yield f"observed flows that would break: {answer.broken_flows}"
    yield from map(_change, (c for c in answer.flows if c.before.allowed))
    yield f"observed flows that would be allowed: {answer.opened_flows}"
    yield from map(_change, (c for c in answer.flows if not c.before.allowed))
    yield "pairs:" if answer.pairs else "pairs: no change"
    for pair in answer.pairs:
        source = _kind(pair.source_groups, pair.source_groups_before)
        ends = f"{source} -> {_kind(pair.destination_groups, pair.destination_groups_before)}"
        opened = f"  opens {', '.join(pair.opened)}" if pair.opened else ""
        closed = f"  closes {', '.join(pair.closed)}" if pair.closed else ""
        yield f"  {pair.vrf}: {ends}{opened}{closed}"
    yield "this change only narrows" if answer.narrows else "this change opens something"


def _change(change: pb.FlowChange) -> str:
    was, will = (_verdict(ruling) for ruling in (change.before, change.after))
    return f"  {flow_text(change.flow)}: {was} -> {will}"


_NAMELESS: dict[tuple[str, ...], str] = {
    ("workload",): "(workloads in no group)",
    ("outside",): "(outside, in no network set)",
    ("pending",): "(pending)",
}
"""What stands in place of the names of ends that have none."""


def _kind(after: Sequence[str], before: Sequence[str]) -> str:
    """Return what one end of a pair would be, and what it is now where that is something else."""
    would, now = (_NAMELESS.get((*names,), "+".join(names)) for names in (after, before))
    return would if would == now else f"{would} [now {now}]"


def _verdict(ruling: Any) -> str:
    return f"{'allowed' if ruling.allowed else 'denied'} ({ruling.rule or '-'})"


def flow_text(flow: Any) -> str:
    """Return a flow in a line."""
    return f"{flow.vrf}: {end_text(flow.source)} -> {end_text(flow.destination)} {flow.service}"


def end_text(end: Any) -> str:
    """Return one end of a flow: the workload's name, else the address with its network sets."""
    if end.workload:
        return str(end.workload)
    names = [*end.groups, *end.networks]
    return f"{end.address} ({', '.join(names)})" if names else str(end.address)


@policy.command()
@click.argument("what", metavar="DOCUMENT|REVISION")
@REASON
@click.option("--allow-empty", is_flag=True, help="Stage a document that says nothing.")
@node_options
def stage(what: str, reason: str, allow_empty: bool, socket_path: str, as_json: bool) -> None:
    """Stage a revision: evaluate it in shadow mode without enforcing it."""
    with node_at(socket_path) as node:
        answer = node.segment.stage(**_what(what), reason=reason, allow_empty=allow_empty)
    if as_json:
        click.echo(as_object(answer))
        return
    print_problems(answer.warnings, "warning")
    enforced = answer.revision.state == answer.revision.STATE_ENFORCED
    state = "enforced already: nothing is changed" if enforced else "staged"
    click.echo(f"revision {answer.revision.digest[:12]} is {state}")


@policy.command()
@REASON
@node_options
def unstage(reason: str, socket_path: str, as_json: bool) -> None:
    """Stop evaluating the staged revision."""
    with node_at(socket_path) as node:
        node.segment.unstage(reason)
    click.echo("{}" if as_json else "nothing is staged")


@policy.command()
@click.argument("before", default="")
@click.argument("after", default="")
@node_options
def diff(before: str, after: str, socket_path: str, as_json: bool) -> None:
    """Compare two revisions (default: the enforced and the staged one)."""
    with node_at(socket_path) as node:
        lines = node.segment.diff(before, after)
    if as_json:
        print_json(lines)
        return
    for line in lines:
        if line.before:
            click.echo(f"- {line.subject}: {line.before}")
        if line.after:
            click.echo(f"+ {line.subject}: {line.after}")
    if not lines:
        click.echo("no difference")


@policy.command()
@click.argument("expected", default="", metavar="[REVISION]")
@REASON
@node_options
def promote(expected: str, reason: str, socket_path: str, as_json: bool) -> None:
    """Enforce the staged revision and end the flows that it denies.

    With REVISION, fails unless that revision is the staged one.
    """
    with node_at(socket_path) as node:
        answer = node.segment.promote(expected, reason)
    if as_json:
        click.echo(as_object(answer))
        return
    took = answer.enforced_after_microseconds / 1000
    click.echo(
        f"revision {answer.enforced.digest[:12]} is enforced after {took:.1f} ms;"
        f" {answer.ended_flows} established flows ended"
    )


@policy.command()
@click.argument("revision", default="")
@REASON
@node_options
def rollback(revision: str, reason: str, socket_path: str, as_json: bool) -> None:
    """Enforce an earlier revision again (default: the previous one)."""
    with node_at(socket_path) as node:
        answer = node.segment.roll_back(revision, reason)
    if as_json:
        click.echo(as_object(answer))
        return
    click.echo(
        f"revision {answer.enforced.digest[:12]} is enforced again;"
        f" {answer.ended_flows} established flows ended"
    )


@policy.command()
@click.option("-n", "limit", default=0, help="Maximum number of changes.")
@node_options
def log(limit: int, socket_path: str, as_json: bool) -> None:
    """Show the history of revisions: who moved which, when and why."""
    with node_at(socket_path) as node:
        rows = node.segment.changes(limit)
    lines = table(
        ("When", "Move", "Before", "After", "Who", "Why"),
        [
            (
                when(row.when),
                row.move,
                row.before[:12] or "-",
                row.after[:12] or "-",
                row.who,
                row.why or "-",
            )
            for row in rows
        ],
    )
    print_json(rows) if as_json else show(lines)


def when(stamp: Any) -> str:
    """Return a time, in UTC, to the second."""
    if not stamp.seconds:
        return "never"
    return datetime.fromtimestamp(stamp.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@policy.command("list")
@click.option("-n", "limit", default=0, help="Maximum number of revisions.")
@node_options
def list_revisions(limit: int, socket_path: str, as_json: bool) -> None:
    """List revisions and their states, with who moved each last and when."""
    with node_at(socket_path) as node:
        rows = node.segment.revisions(limit)
    if as_json:
        print_json(rows)
        return
    heads = ("Revision", "Name", "State", "Rules", "Groups", "Changed", "By")
    show(table(heads, map(_revision, rows), right="Rules,Groups"))
    for row in rows:
        if row.problem:
            click.echo(f"{row.digest[:12]} is unreadable: {row.problem}", err=True)


def _revision(row: pb.Revision) -> tuple[str, ...]:
    state = row.State.Name(row.state).removeprefix("STATE_").lower()
    moved = row.HasField("last_change")
    return (
        row.digest[:12],
        row.name or "-",
        state + (", unreadable" if row.problem else ""),
        str(row.rules),
        str(row.groups),
        when(row.last_change.when) if moved else "-",
        row.last_change.who if moved else "-",
    )


@policy.command("show")
@click.argument("revision")
@node_options
def show_revision(revision: str, socket_path: str, as_json: bool) -> None:
    """Show the document of a revision."""
    with node_at(socket_path) as node:
        answer = node.segment.revision(revision)
    click.echo(as_object(answer) if as_json else answer.document)


@policy.command()
@click.option("--baseline", default="", help="Use the flows of this baseline.")
@click.option("--vrf", default="", help="Use flows of this VRF only.")
@node_options
def recommend(baseline: str, vrf: str, socket_path: str, as_json: bool) -> None:
    """Recommend rules for flows that no rule allows."""
    with node_at(socket_path) as node:
        answer = node.segment.recommend(baseline, vrf)
    if as_json:
        click.echo(as_object(answer))
        return
    for each in answer.proposals:
        possible = f" of {each.pairs_possible}" if each.pairs_possible else ""
        click.echo(f"- {each.sentence}")
        click.echo(f"    # {each.count} flows, {each.pairs_seen}{possible} pairs of addresses")
    for lost in answer.unplaced:
        click.echo(f"# no rule for {flow_text(lost.flow)}: {lost.reason}")
    if not answer.proposals and not answer.unplaced:
        click.echo("# no rule to recommend: no flow was observed that no rule allows")
