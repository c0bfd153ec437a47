"""Implement ``pe show``, which prints a node's state as tables or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import click

from controlplane.model.name_list import NAMED, name_list
from pe.cli import columns, routes
from pe.cli.connection import fail, node_at, node_options
from pe.cli.help import Group
from pe.cli.plain import as_object, print_json
from pe.cli.table import show as print_lines


@click.group("show", cls=Group)
def show() -> None:
    """Show the state of a node."""


@show.command()
@node_options
def status(socket_path: str, as_json: bool) -> None:
    """Show the node's status."""
    with node_at(socket_path) as node:
        answer = node.status()
    if as_json:
        click.echo(as_object(answer))
    else:
        print_lines(columns.status(answer))


@show.command()
@node_options
def vrfs(socket_path: str, as_json: bool) -> None:
    """Show VRFs with RD, route targets, table, label and routes."""
    with node_at(socket_path) as node:
        rows = node.show_vrfs()
    print_json(rows) if as_json else print_lines(columns.vrfs(rows))


@show.command()
@click.argument("place", default="", metavar="[VRF|ADDRESS]")
@click.option("--core", is_flag=True, help="Show sessions with PEs and route reflectors only.")
@click.option("--detail", is_flag=True, help="Show all details of each session.")
@node_options
def neighbors(place: str, core: bool, detail: bool, socket_path: str, as_json: bool) -> None:
    """Show BGP sessions: all, those of one VRF, or of one neighbour all details."""
    address = place if _is_address(place) else ""
    with node_at(socket_path) as node:
        every = node.show_neighbors("" if address else place, core_only=core)
    rows = [row for row in every if not address or ip_address(row.address) == ip_address(address)]
    if address and not rows:
        names = name_list(list(dict.fromkeys(row.address for row in every)), NAMED) or "none"
        fail(f"there is no neighbour {address}; neighbours here: {names}")
    detail = detail or bool(address)
    if as_json:
        print_json(rows)
    else:
        print_lines(columns.neighbor_details(rows) if detail else columns.neighbors(rows))


@show.command("routes")
@click.argument("vrf", default="")
@click.option("--prefix", default="", metavar="PREFIX", help="This prefix, or an address's route.")
@click.option("--longer", is_flag=True, help="Show more specific prefixes too.")
@click.option("--all", "all_paths", is_flag=True, help="Show all paths, not only the best.")
@click.option(
    "--neighbor", default="", metavar="ADDRESS", help="Show routes learned from this neighbour."
)
@click.option("--received", is_flag=True, help="With --neighbor: what it announced, refused too.")
@click.option("--advertised", is_flag=True, help="With --neighbor: what is announced to it.")
@click.option("--detail", is_flag=True, help="Show all attributes.")
@node_options
def show_routes(
    vrf: str, prefix: str, longer: bool, all_paths: bool, neighbor: str, received: bool,
    advertised: bool, detail: bool, socket_path: str, as_json: bool,
) -> None:  # fmt: skip
    """Show routes of all VRFs or of one."""
    if _is_address(vrf.partition("/")[0]):
        fail(f"{vrf} is no VRF: `pe show routes --prefix {vrf}` shows the routes to it", 2)
    if longer and not prefix:
        fail("--longer needs --prefix", 2)
    if received and advertised:
        fail("--received and --advertised: one of them", 2)
    if (received or advertised) and not neighbor:
        fail(f"--{'received' if received else 'advertised'} needs --neighbor", 2)
    with node_at(socket_path) as node:
        found = node.show_routes(
            vrf, prefix, longer=longer, all_paths=all_paths, neighbor=neighbor,
            table=routes.table(received=received, advertised=advertised),
        )  # fmt: skip
        if as_json:
            print_json(found)
        else:
            print_lines(routes.details(found) if detail else routes.listing(found))
            print_lines(f"  {reason}" for reason in found.absent)


@show.command()
@node_options
def labels(socket_path: str, as_json: bool) -> None:
    """Show allocated labels and labels in hold-down."""
    with node_at(socket_path) as node:
        rows = node.show_labels()
    print_json(rows) if as_json else print_lines(columns.labels(rows))


@show.command()
@node_options
def nexthops(socket_path: str, as_json: bool) -> None:
    """Show next hops and their paths through the core."""
    with node_at(socket_path) as node:
        rows = node.show_next_hops()
    print_json(rows) if as_json else print_lines(columns.next_hops(rows))


@show.command()
@node_options
def ports(socket_path: str, as_json: bool) -> None:
    """Show CE and core ports."""
    with node_at(socket_path) as node:
        rows = node.show_ports()
    print_json(rows) if as_json else print_lines(columns.ports(rows))


@show.command()
@node_options
def counters(socket_path: str, as_json: bool) -> None:
    """Show the node's own counters."""
    with node_at(socket_path) as node:
        rows = node.show_counters()
    print_json(rows) if as_json else print_lines(columns.counters(rows))


@show.command()
@click.argument("vrf", default="")
@click.option("--port", default="", help="Show the guards of this port only.")
@click.option(
    "--requirement",
    default="",
    metavar="ID",
    help="This requirement (SPF-1) or area (SPF).",
)
@click.option("--hits", is_flag=True, help="Show guards with packets only.")
@node_options
def guards(
    vrf: str, port: str, requirement: str, hits: bool, socket_path: str, as_json: bool
) -> None:
    """Show packets dropped by the guards, by security requirement."""
    with node_at(socket_path) as node:
        every = node.show_guards(vrf)
        found = [
            row
            for row in every
            if port in ("", row.port)
            and requirement.upper() in ("", row.requirement, row.requirement.partition("-")[0])
        ]
        if every and not found:
            fail(_absent(requirement.upper(), port, {row.requirement for row in every}))
        rows = [row for row in found if row.packets or not hits]
    print_json(rows) if as_json else print_lines(columns.guards(rows))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _absent(requirement: str, port: str, counted: set[str]) -> str:
    """Say why no guard was found, which need not be a wrong id: not each id has a counter."""
    from pe.selftest.catalog import NOT_TESTED, TRIED

    def ids(of: Iterable[str]) -> set[str]:
        return {*of, *(name.partition("-")[0] for name in of)}

    if requirement and requirement not in ids(counted):
        if requirement not in ids({*TRIED, *NOT_TESTED}):
            return f"there is no requirement {requirement}: docs/security.md lists them"
        return f"{requirement} has no counter of its own here: docs/security.md says what keeps it"
    return "there is no guard " + " ".join(filter(None, (requirement, port and f"at port {port}")))
