"""The map as one SVG, with nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from pe.draw.lanes import LANE, Way, along, lanes, next_column
from pe.draw.layout import BOX_HEIGHT, BOX_WIDTH, COLUMN, MARGIN, Spot, place
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
    names, pairs = [node.name for node in nodes], [(e.source, e.destination) for e in edges]
    flat = place(names, pairs, top)  # which lanes there are depends on columns only
    over, under = (lanes(pairs, flat, back=back) for back in (False, True))
    room = LANE * (1 + max(over.values(), default=-1))
    spots = place(names, pairs, top + room)
    right = max(spot.x for spot in spots.values()) + BOX_WIDTH + MARGIN
    floor = max(spot.y for spot in spots.values()) + BOX_HEIGHT + 20
    bottom = floor + LANE * (1 + max(under.values(), default=-1)) + 8
    frame = f'x="{MARGIN / 2}" y="{top}" width="{right - MARGIN / 2:.0f}"'
    lines = [
        f'<rect class="vrf" {frame} height="{bottom - top:.0f}" rx="14"/>',
        f'<text class="vrfname" x="{MARGIN}" y="{top + 26:.0f}">VRF {escape(vrf)}</text>',
    ]
    ways: list[tuple[pb.MapEdge, Way]] = []
    ceiling = min(spot.y for spot in spots.values()) - 18
    for number, (edge, pair) in enumerate(zip(edges, pairs, strict=True)):
        start, end, shift = spots[pair[0]], spots[pair[1]], (number % 5 - 2) * 7.0
        if pair in over:
            way = along(start, end, over[pair], ceiling - LANE * over[pair], shift)
        elif pair in under:
            way = along(start, end, under[pair], floor + LANE * under[pair], shift)
        else:
            way = next_column(start, end, number)
        ways.append((edge, way))
    lines += [_arrow(edge, way) for edge, way in ways]
    lines += [_says(edge, way) for edge, way in ways]
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
    what = "member" if about == "1 " else _ABOUT.get(node.kind, "")
    words = f"{about}{what} · {node.mode}"
    yield _text("about", middle, spot.y + 44, words)


def _text(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'
    )


def _arrow(edge: pb.MapEdge, way: Way) -> str:
    tone = colour(edge)
    dash = ' stroke-dasharray="7 4"' if edge.denied and not edge.allowed else ""
    title = escape(f"{edge.source} to {edge.destination}: {label(edge)}")
    return (
        f'<path class="arrow" d="{way.path}" stroke="{tone}"{dash}'
        f' marker-end="url(#head{tone[1:]})"><title>{title}</title></path>'
    )


def _says(edge: pb.MapEdge, way: Way) -> str:
    place = f'x="{way.x:.0f}" y="{way.y:.0f}" text-anchor="middle"'
    return f'<text class="says" {place} style="fill:{colour(edge)}">{escape(label(edge))}</text>'


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
