"""Implement ``pe workload``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from pe.cli.connection import fail, node_at, node_options
from pe.cli.help import Group
from pe.cli.plain import as_object, print_json, word
from pe.cli.policy import when
from pe.cli.table import duration, show, table

if TYPE_CHECKING:
    from bulkhead.v1 import workloads_pb2 as pb

SHORT = 32
"""Characters that the addresses, the tags or the groups of a workload take in a short line."""


@click.group(cls=Group)
def workload() -> None:
    """Attach, tag, list and show workloads."""


@workload.command()
@click.argument("name")
@click.option("--vrf", required=True, help="VRF of the workload.")
@click.option("--port", required=True, help="CE port of the workload.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    required=True,
    help="Address or prefix; repeatable.",
)
@click.argument("tags", nargs=-1)
@node_options
def attach(
    name: str, vrf: str, port: str, addresses: tuple[str, ...], tags: tuple[str, ...],
    socket_path: str, as_json: bool,
) -> None:  # fmt: skip
    """Attach a workload: NAME TAG=VALUE...

    The same command again changes nothing; with other arguments it changes the workload, and
    tags and addresses that are left out are removed.
    """
    set_, unset = read_tags(tags)
    if unset:
        fail(f"{unset[0]}-: attach sets all tags; `pe workload tag` removes one", 2)
    with node_at(socket_path) as node:
        answer = node.segment.attach_workload(name, vrf, port, addresses, set_)
    made = answer.workload
    click.echo(as_object(made)) if as_json else show(_table([made]))
    if answer.removed:
        click.echo(f"removed from {name}: {', '.join(answer.removed)}", err=True)
    if answer.warning:
        click.echo(f"warning: {answer.warning}", err=True)


@workload.command()
@click.argument("name")
@node_options
def detach(name: str, socket_path: str, as_json: bool) -> None:
    """Detach a workload; its addresses are in hold-down (denied) for five minutes."""
    with node_at(socket_path) as node:
        answer = node.segment.detach_workload(name)
    if as_json:
        click.echo(as_object(answer))
        return
    click.echo(f"{name} is detached" if answer.detached else f"there is no workload {name}")
    if answer.held_down:
        click.echo(
            f"in hold-down: {_few(answer.held_down, wide=False)}, denied for"
            f" {duration(answer.hold_down_seconds)} unless a workload or route claims it before"
        )


@workload.command()
@click.argument("name")
@click.argument("tags", nargs=-1, required=True)
@click.option("--generation", default=0, help="Change it only if it has this generation.")
@node_options
def tag(name: str, tags: tuple[str, ...], generation: int, socket_path: str, as_json: bool) -> None:
    """Change tags: KEY=VALUE sets one, KEY- removes it."""
    set_, unset = read_tags(tags)
    with node_at(socket_path) as node:
        made = node.segment.tag(name, set_, unset, generation)
    click.echo(as_object(made)) if as_json else show(_table([made]))


@workload.command("list")
@click.argument("selector", default="")
@click.option("--vrf", default="", help="Show workloads of this VRF only.")
@click.option("--wide", is_flag=True, help="Show every address, tag and group.")
@node_options
def list_workloads(selector: str, vrf: str, wide: bool, socket_path: str, as_json: bool) -> None:
    """List workloads, all or those that match a selector ("env=prod and tier in (web, app)").

    Of many addresses, tags or groups of a workload a line has the first ones and the number of
    the others; --wide shows all.
    """
    with node_at(socket_path) as node:
        rows = node.segment.list_workloads(vrf, selector)
    print_json(rows) if as_json else show(_table(rows, wide=wide))


@workload.command("show")
@click.argument("name")
@node_options
def show_workload(name: str, socket_path: str, as_json: bool) -> None:
    """Show one workload with all that the node knows of it."""
    with node_at(socket_path) as node:
        found = node.segment.workload(name)
    click.echo(as_object(found)) if as_json else show(_whole(found))


@workload.command()
@click.argument("selector", default="")
@click.option("--vrf", default="", help="Show workloads of this VRF only.")
@click.option("-n", "limit", default=0, help="Maximum number of lines.")
@node_options
def watch(selector: str, vrf: str, limit: int, socket_path: str, as_json: bool) -> None:
    """Print the workloads that match a selector, then every change, one line each."""
    from bulkhead.v1 import workloads_pb2 as pb

    synced, number = pb.WatchWorkloadsResponse.EVENT_SYNCED, 0
    with node_at(socket_path) as node:
        for told in node.segment.watch_workloads(vrf, selector):
            if as_json:
                click.echo(as_object(told))
            elif told.event == synced:
                continue
            else:
                event = word(told.DESCRIPTOR.enum_types_by_name["Event"], told.event)
                click.echo(f"{event:<8}  {'  '.join(_row(told.workload))}")
            number += 1
            if number == limit:
                return


def read_tags(words: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Return the tags to set (``env=prod``) and those to remove (``scope-``)."""
    set_: dict[str, str] = {}
    unset: list[str] = []
    for each in words:
        key, equals, value = each.partition("=")
        if equals:
            set_[key] = value
        elif each.endswith("-"):
            unset.append(each[:-1])
        else:
            fail(f"{each!r} is no tag: write KEY=VALUE, or KEY- to remove one", 2)
    return set_, unset


def _whole(row: pb.Workload) -> Iterator[str]:
    yield f"Workload:    {row.name}"
    yield f"VRF:         {row.vrf}, port {row.port}"
    yield f"Addresses:   {' '.join(row.addresses)}"
    for each in row.conflicts:
        yield f"Conflict:    {each}, under another name; pending, so denied"
    yield f"Tags:        {' '.join(_tags(row)) or '-'}"
    yield f"Groups:      {', '.join(row.groups) or '-'}"
    yield f"Attached:    {when(row.attached_at)} UTC, generation {row.generation}"
    yield f"Changed by:  {'pe.yaml' if row.configured else 'the API (pe workload)'}"


def _table(rows: list[pb.Workload], *, wide: bool = True) -> Iterator[str]:
    yield from table(
        ("Workload", "VRF", "Port", "Addresses", "Tags", "Groups"),
        [_row(row, wide=wide) for row in rows],
    )
    for row in rows:
        for each in row.conflicts:
            yield f"! {row.name}: {each}, under another name; pending, so denied"


def _row(row: pb.Workload, *, wide: bool = True) -> tuple[str, ...]:
    several = (row.addresses, _tags(row), row.groups)
    name = f"{row.name} !" if row.conflicts else row.name
    return (name, row.vrf, row.port, *(_few(each, wide=wide) for each in several))


def _tags(row: pb.Workload) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(row.tags.items())]


def _few(names: Sequence[str], *, wide: bool) -> str:
    """Return the names; of more than a line has room for, the first ones and ``+5``."""
    room, shown = SHORT, list[str]()
    for name in names:
        room -= len(name) + 1
        if room < 0 and shown and not wide:
            return f"{' '.join(shown)} +{len(names) - len(shown)}"
        shown.append(name)
    return " ".join(shown) or "-"
