"""Implement ``pe map``: groups as boxes, flows between them as arrows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import node_at, node_options
from pe.cli.flows import filter_options, make_filter
from pe.cli.help import Command
from pe.cli.plain import as_object
from pe.cli.policy import when
from pe.cli.table import table
from pe.draw.dot import dot
from pe.draw.page import page
from pe.draw.picture import picture

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

FORMATS = ("text", "json", "dot", "svg", "html")


@click.command("map", cls=Command)
@filter_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@node_options
def flow_map(form: str, socket_path: str, as_json: bool, **options: Any) -> None:
    """Draw the map of flows between groups: text, JSON, DOT, SVG or HTML."""
    with node_at(socket_path) as node:
        answer = node.segment.map(make_filter(**options))
        name = node.status().name
    drawn = {"dot": dot, "svg": picture, "html": lambda m: page(m, name)}
    if form == "json" or as_json:
        click.echo(as_object(answer))
    elif form == "text":
        click.echo("\n".join(_text(answer)))
    else:
        draw: Callable[[pb.GetMapResponse], str] = drawn[form]
        click.echo(draw(answer))


def _text(answer: pb.GetMapResponse) -> Iterator[str]:
    rows = [
        (
            edge.vrf,
            edge.source,
            edge.destination,
            " ".join(edge.services),
            str(edge.allowed),
            str(edge.denied),
            _staged(edge),
            when(edge.first),
            when(edge.last),
        )
        for edge in answer.edges
    ]
    heads = ("VRF", "From", "To", "Services", "Allowed", "Denied", "Staged", "First", "Last")
    yield from table(heads, rows, right="Allowed,Denied")
    quiet = {(n.vrf, n.name) for n in answer.nodes} - {
        (edge.vrf, name) for edge in answer.edges for name in (edge.source, edge.destination)
    }
    if quiet:
        yield "silent: " + ", ".join(f"{vrf}: {name}" for vrf, name in sorted(quiet))
    lost = answer.loss.lost
    yield f"{lost} flows lost by telemetry" if lost else "no flow was lost by telemetry"


def _staged(edge: pb.MapEdge) -> str:
    changes = [f"{edge.staged_would_deny} to deny"] if edge.staged_would_deny else []
    changes += [f"{edge.staged_would_allow} to allow"] if edge.staged_would_allow else []
    return ", ".join(changes) or "-"
