"""Implement ``pe reload`` and ``pe clear``, which change a running node."""

from __future__ import annotations

import click

from pe.cli.connection import node_at, node_options
from pe.cli.help import Command, Group
from pe.cli.plain import as_object


@click.command(cls=Command)
@node_options
def reload(socket_path: str, as_json: bool) -> None:
    """Reload the configuration.

    Applies the difference to the running configuration, or refuses the file as a whole if it
    has an error.
    """
    with node_at(socket_path) as node:
        answer = node.reload()
    if as_json:
        click.echo(as_object(answer))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    for change in answer.changes or ["nothing to change"]:
        click.echo(change)


@click.group(cls=Group)
def clear() -> None:
    """Reset a BGP session."""


@clear.command()
@click.argument("address")
@click.option("--vrf", default="", help="VRF of the session; none for a core session.")
@node_options
def neighbor(address: str, vrf: str, socket_path: str, as_json: bool) -> None:
    """Reset a BGP session, or end its idle hold after max-prefix."""
    with node_at(socket_path) as node:
        node.clear_neighbor(address, vrf)
    place = f" in VRF {vrf}" if vrf else ""
    click.echo("{}" if as_json else f"session with {address}{place} is reset")
