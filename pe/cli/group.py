"""Implement ``pe group``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from pe.cli.connection import node_at, node_options
from pe.cli.help import Group
from pe.cli.plain import as_object, print_json
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import groups_pb2 as pb

REVISION = click.option("--revision", default="", help="Revision (default: the enforced one).")


@click.group(cls=Group)
def group() -> None:
    """Show groups and network sets of the policy, and try selectors."""


@group.command("list")
@click.argument("name", default="")
@REVISION
@click.option("--networks", is_flag=True, help="Show network sets.")
@node_options
def list_groups(name: str, revision: str, networks: bool, socket_path: str, as_json: bool) -> None:
    """List all groups, or the members of one."""
    with node_at(socket_path) as node:
        if networks:
            sets = node.segment.list_network_sets(revision)
            lines = table(
                ("Network set", "Prefixes"), [(s.name, " ".join(s.prefixes)) for s in sets]
            )
            print_json(sets) if as_json else show(lines)
        elif name:
            found = node.segment.group(name, revision)
            click.echo(as_object(found)) if as_json else show(_members(found.members))
        else:
            groups = node.segment.list_groups(revision)
            listed = [(g.name, str(g.id), g.mode or "-", str(g.local_members),
                       str(g.remote_members), g.selector) for g in groups]  # fmt: skip
            heads = ("Group", "Id", "Mode", "Here", "Elsewhere", "Selector")
            lines = table(heads, listed, right="Id,Here,Elsewhere")
            print_json(groups) if as_json else show(lines)


@group.command("show")
@click.argument("name")
@REVISION
@node_options
def show_group(name: str, revision: str, socket_path: str, as_json: bool) -> None:
    """Show one group: its selector, mode and members here and at other nodes."""
    with node_at(socket_path) as node:
        found = node.segment.group(name, revision)
    if as_json:
        click.echo(as_object(found))
        return
    it = found.group
    click.echo(f"Group:     {it.name}, id {it.id}")
    click.echo(f"Selector:  {it.selector}")
    click.echo(f"Mode:      {it.mode or 'that of the VRF'}")
    click.echo(f"Members:   {it.local_members} here, {it.remote_members} elsewhere")
    if found.members:
        show(_members(found.members))


@group.command("try")
@click.argument("selector")
@click.option("--vrf", default="", help="Workloads of this VRF only.")
@node_options
def try_selector(selector: str, vrf: str, socket_path: str, as_json: bool) -> None:
    """Show the workloads here that SELECTOR ("env=prod and tier=web") would choose."""
    with node_at(socket_path) as node:
        found = node.segment.try_selector(selector, vrf)
    if as_json:
        print_json(found)
        return
    show(_members(found) if found else [f"no workload here matches {selector}"])


def _members(members: Iterable[pb.GroupMember]) -> Iterator[str]:
    rows = [(m.workload or "-", m.vrf, " ".join(m.prefixes), m.node or "here") for m in members]
    return table(("Member", "VRF", "Prefixes", "At"), rows)
