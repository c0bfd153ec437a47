"""Draw the map for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pe.draw.style import colour, label

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb


def dot(answer: pb.GetMapResponse) -> str:
    """Return a digraph, one cluster per VRF."""
    return "\n".join(_lines(answer))


def _lines(answer: pb.GetMapResponse) -> Iterator[str]:
    yield "digraph bulkhead {"
    yield '  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif"];'
    for number, vrf in enumerate(sorted({node.vrf for node in answer.nodes})):
        yield f"  subgraph cluster_{number} {{ label={_quoted('VRF ' + vrf)};"
        for node in answer.nodes:
            if node.vrf == vrf:
                text = _quoted(node.name)[:-1] + f'\\n{node.mode}"'
                yield f"    {_name(vrf, node.name)} [label={text}];"
        yield "  }"
    for edge in answer.edges:
        ends = f"{_name(edge.vrf, edge.source)} -> {_name(edge.vrf, edge.destination)}"
        yield f'  {ends} [label={_quoted(label(edge))}, color="{colour(edge)}"];'
    yield "}"


def _name(vrf: str, name: str) -> str:
    return _quoted(f"{vrf}/{name}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
