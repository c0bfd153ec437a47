"""The map as one SVG, with nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from pe.draw.layout import BOX_HEIGHT, BOX_WIDTH, COLUMN, MARGIN, ROW, Spot, place
from pe.draw.style import LEGEND, colour, label

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

_STYLE = """
text{font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2933}
.vrf{fill:#f7f8fa;stroke:#d5dae1}.vrfname{font-size:15px;font-weight:600;fill:#52606d}
.box{fill:#fff;stroke:#9aa5b1;stroke-width:1.3}.network{fill:#eef4fb;stroke-dasharray:5 4}
.unknown{fill:#f1f1f1;stroke-dasharray:2 3}.full{stroke:#1f2933;stroke-width:2.4}
.name{font-size:15px;font-weight:600}.about{font-size:11px;fill:#616e7c}
.arrow{fill:none;stroke-width:1.8}.says{font-size:11px;paint-order:stroke;stroke:#f7f8fa;
stroke-width:4px;stroke-linejoin:round}
"""
_KINDS = {1: "group", 2: "network", 3: "workload", 4: "unknown"}
_ABOUT = {1: "members", 2: "network set", 3: "in no group", 4: "unknown addresses"}


def picture(answer: pb.GetMapResponse) -> str:
    """A whole SVG document."""
    body: list[str] = []
    top, width = float(MARGIN), 2.0 * COLUMN
    for vrf in sorted({node.vrf for node in answer.nodes}):
        lines, right, bottom = _vrf(answer, vrf, top)
        body += lines
        top, width = bottom + MARGIN, max(width, right)
    body += _legend(top, answer)
    size = f'viewBox="0 0 {width + MARGIN:.0f} {top + 2 * MARGIN:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<style>{_STYLE}</style>",
            "<defs>",
            *(_head(tone) for tone, _ in LEGEND),
            "</defs>",
            *body,
            "</svg>",
        ]
    )


def _head(tone: str) -> str:
    return (
        f'<marker id="head{tone[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        f' markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{tone}"/></marker>'
    )


def _vrf(answer: pb.GetMapResponse, vrf: str, top: float) -> tuple[list[str], float, float]:
    nodes = [node for node in answer.nodes if node.vrf == vrf]
    edges = [edge for edge in answer.edges if edge.vrf == vrf]
    spots = place([n.name for n in nodes], [(e.source, e.destination) for e in edges], top)
    right = max(spot.x for spot in spots.values()) + BOX_WIDTH + MARGIN
    bottom = max(spot.y for spot in spots.values()) + ROW - 14
    frame = f'x="{MARGIN / 2}" y="{top}" width="{right - MARGIN / 2:.0f}"'
    lines = [
        f'<rect class="vrf" {frame} height="{bottom - top:.0f}" rx="14"/>',
        f'<text class="vrfname" x="{MARGIN}" y="{top + 26:.0f}">VRF {escape(vrf)}</text>',
    ]
    for number, edge in enumerate(edges):
        lines += _arrow(edge, spots[edge.source], spots[edge.destination], number)
    for node in nodes:
        lines += _box(node, spots[node.name])
    return lines, right, bottom


def _box(node: pb.MapNode, spot: Spot) -> Iterator[str]:
    kind = _KINDS.get(node.kind, "unknown")
    strict = " full" if node.mode == "full" else ""
    yield (
        f'<rect class="box {kind}{strict}" x="{spot.x:.0f}" y="{spot.y:.0f}"'
        f' width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="10"/>'
    )
    middle = spot.x + BOX_WIDTH / 2
    name = node.name if len(node.name) <= 20 else node.name[:19] + "…"
    yield _text("name", middle, spot.y + 26, name)
    about = f"{node.members} " if kind == "group" else ""
    words = f"{about}{_ABOUT.get(node.kind, '')} · {node.mode}"
    yield _text("about", middle, spot.y + 44, words)


def _text(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'
    )


def _arrow(edge: pb.MapEdge, start: Spot, end: Spot, number: int) -> Iterator[str]:
    tone = colour(edge)
    way, x, y = _way(start, end, number)
    dash = ' stroke-dasharray="7 4"' if edge.denied and not edge.allowed else ""
    yield (
        f'<path class="arrow" d="{way}" stroke="{tone}"{dash} marker-end="url(#head{tone[1:]})">'
        f"<title>{escape(f'{edge.source} to {edge.destination}: {label(edge)}')}</title></path>"
    )
    yield (
        f'<text class="says" x="{x:.0f}" y="{y:.0f}" text-anchor="middle" style="fill:{tone}">'
        f"{escape(label(edge))}</text>"
    )


def _way(start: Spot, end: Spot, number: int) -> tuple[str, float, float]:
    """A curve, and where to write on it. Arrows to the left go round below the boxes."""
    lift = (number % 3 - 1) * 9.0
    if start is end:
        x, y = start.x + BOX_WIDTH / 2, start.y
        return f"M{x - 34} {y} C{x - 40} {y - 34} {x + 40} {y - 34} {x + 34} {y}", x, y - 28
    ahead = end.x > start.x
    x1 = start.x + (BOX_WIDTH if ahead or end.x == start.x else 0)
    x2 = end.x + (0 if ahead else BOX_WIDTH)
    y1, y2 = start.middle + lift, end.middle + lift
    if ahead:
        bend = (x2 - x1) / 2
        way = f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
        return way, x1 + (x2 - x1) * 0.42, y1 + (y2 - y1) * 0.36 - 6
    if end.x == start.x:
        out = x1 + 74 + lift
        return f"M{x1} {y1} C{out} {y1} {out} {y2} {x2} {y2}", out - 16, (y1 + y2) / 2
    low = max(start.y, end.y) + BOX_HEIGHT + 24
    x1, x2 = start.x + BOX_WIDTH / 2, end.x + BOX_WIDTH / 2
    y1, y2 = start.y + BOX_HEIGHT, end.y + BOX_HEIGHT
    return f"M{x1} {y1} C{x1} {low + 14} {x2} {low + 14} {x2} {y2}", (x1 + x2) / 2, low + lift


def _legend(top: float, answer: pb.GetMapResponse) -> Iterator[str]:
    x = float(MARGIN)
    for tone, words in LEGEND:
        ends = f'x1="{x}" y1="{top}" x2="{x + 26}" y2="{top}"'
        yield f'<line {ends} stroke="{tone}" stroke-width="3"/>'
        yield f'<text class="about" x="{x + 32}" y="{top + 4}">{words}</text>'
        x += 56 + 6.1 * len(words)
    lost = answer.loss.lost
    words = f"{lost} flows lost by telemetry" if lost else "no flow lost by telemetry"
    yield f'<text class="about" x="{MARGIN}" y="{top + 24}">{words}</text>'
