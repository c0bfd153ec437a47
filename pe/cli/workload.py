"""Implement ``pe workload`` and ``pe group``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pe.cli.connection import EXIT_CODES, fail, node_at, node_options
from pe.cli.plain import as_object, print_json, word
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import workloads_pb2 as pb


@click.group(epilog=EXIT_CODES)
def workload() -> None:
    """Attach, tag and list workloads."""


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
        detached = node.segment.detach(name)
    done = f"{name} is detached" if detached else f"there is no workload {name}"
    click.echo(json.dumps({"detached": detached}) if as_json else done)


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
@node_options
def list_workloads(selector: str, vrf: str, socket_path: str, as_json: bool) -> None:
    """List workloads, all or those that match a selector ("env=prod and tier in (web, app)")."""
    with node_at(socket_path) as node:
        rows = node.segment.list_workloads(vrf, selector)
    print_json(rows) if as_json else show(_table(rows))


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


def _table(rows: list[pb.Workload]) -> Iterator[str]:
    return table(
        ("Workload", "VRF", "Port", "Addresses", "Tags", "Groups"),
        map(_row, rows),
    )


def _row(row: pb.Workload) -> tuple[str, ...]:
    return (
        row.name,
        row.vrf,
        row.port,
        " ".join(row.addresses),
        " ".join(f"{k}={v}" for k, v in sorted(row.tags.items())) or "-",
        " ".join(row.groups) or "-",
    )


@click.group(epilog=EXIT_CODES)
def group() -> None:
    """Show groups and network sets of the policy."""


@group.command("list")
@click.argument("name", default="")
@click.option("--revision", default="", help="Revision (default: the enforced one).")
@click.option("--networks", is_flag=True, help="Show network sets.")
@node_options
def list_groups(name: str, revision: str, networks: bool, socket_path: str, as_json: bool) -> None:
    """Show all groups, or the members of one."""
    with node_at(socket_path) as node:
        if networks:
            sets = node.segment.list_network_sets(revision)
            lines = table(
                ("Network set", "Prefixes"), [(s.name, " ".join(s.prefixes)) for s in sets]
            )
            print_json(sets) if as_json else show(lines)
        elif name:
            found = node.segment.group(name, revision)
            rows = [(m.workload or "-", m.vrf, " ".join(m.prefixes), m.node or "here")
                    for m in found.members]  # fmt: skip
            lines = table(("Member", "VRF", "Prefixes", "At"), rows)
            click.echo(as_object(found)) if as_json else show(lines)
        else:
            groups = node.segment.list_groups(revision)
            listed = [(g.name, str(g.id), g.mode or "-", str(g.local_members),
                       str(g.remote_members), g.selector) for g in groups]  # fmt: skip
            heads = ("Group", "Id", "Mode", "Here", "Elsewhere", "Selector")
            lines = table(heads, listed, right="Id,Here,Elsewhere")
            print_json(groups) if as_json else show(lines)
