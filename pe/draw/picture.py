"""Draw the map as one self-contained SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from pe.draw.layout import BOX_WIDTH, Item, place
from pe.draw.routes import Way, route
from pe.draw.style import LEGEND, colour, label

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

MARGIN, TITLE, LEAST_WIDTH = 28.0, 52.0, 760.0
_STYLE = """
text{font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2933}
.vrf{fill:#f5f7fa;stroke:#d5dae1}.vrfname{font-size:15px;font-weight:600;fill:#3e4c59}
.box{fill:#fff;stroke:#9aa5b1;stroke-width:1.3}.network{fill:#e8f1fb;stroke-dasharray:5 4}
.unknown{fill:#ececec;stroke-dasharray:2 3}.selective{stroke:#1f2933;stroke-width:1.6}
.full{stroke:#1f2933;stroke-width:2.6}
.name{font-size:14px;font-weight:600}.about{font-size:11px;fill:#616e7c}
.arrow{fill:none;stroke-linecap:round}.says{font-size:11px}
"""
_KINDS = {1: "group", 2: "network", 3: "workload", 4: "unknown"}
_ABOUT = {1: "members", 2: "network set", 3: "in no group", 4: "unknown"}
_BOXES = (
    ("group", "group, default allow"),
    ("group selective", "selective default deny"),
    ("group full", "default deny"),
    ("network", "network outside"),
    ("unknown", "unknown addresses"),
)


def picture(answer: pb.GetMapResponse) -> str:
    """Return a whole SVG document."""
    drawn: list[tuple[str, list[str], float, float]] = []
    top = MARGIN
    for vrf in sorted({node.vrf for node in answer.nodes}):
        lines, right, bottom = _vrf(answer, vrf, top)
        drawn.append((_frame(vrf, top, bottom), lines, right, bottom))
        top = bottom + MARGIN
    width = max([LEAST_WIDTH, *(right for _, _, right, _ in drawn)])
    size = f"{width + MARGIN:.0f} {top + 76:.0f}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">',
            f"<title>Who talks to whom</title><style>{_STYLE}</style>",
            "<defs>",
            *(_head(tone) for tone, _ in LEGEND),
            "</defs>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *(line for frame, lines, _, _ in drawn for line in (frame % (width - MARGIN), *lines)),
            *_legend(top, answer),
            "</svg>",
        ]
    )


def _head(tone: str) -> str:
    return (
        f'<marker id="head{tone[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9"'
        ' markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0.8L10 5L0 9.2z" fill="{tone}"/></marker>'
    )


def _frame(vrf: str, top: float, bottom: float) -> str:
    """Return the frame of a VRF; its width is not known yet."""
    return (
        f'<rect class="vrf" x="{MARGIN}" y="{top:.0f}" width="%.0f" height="{bottom - top:.0f}"'
        f' rx="14"/><text class="vrfname" x="{MARGIN + 20:.0f}" y="{top + 30:.0f}">'
        f"VRF {escape(vrf).replace('%', '%%')}</text>"
    )


def _vrf(answer: pb.GetMapResponse, vrf: str, top: float) -> tuple[list[str], float, float]:
    """Draw the content of a VRF's frame; return it with its right and lower ends."""
    nodes = [node for node in answer.nodes if node.vrf == vrf]
    edges = {(e.source, e.destination): e for e in answer.edges if e.vrf == vrf}
    layout = place([node.name for node in nodes], edges)
    labels = {pair: label(edge) for pair, edge in edges.items()}
    routes = route(layout, labels, 2 * MARGIN, top + TITLE)
    lines = [_arrow(edge, routes.ways[pair]) for pair, edge in edges.items()]
    lines += [_says(edge, routes.ways[pair]) for pair, edge in edges.items()]
    for node in nodes:
        item = layout.boxes[node.name]
        lines += _box(node, item, routes.lefts[item.column], top + TITLE + item.y)
    return lines, routes.right + 2 * MARGIN, top + TITLE + layout.height + MARGIN


def _box(node: pb.MapNode, item: Item, x: float, y: float) -> Iterator[str]:
    kind = _KINDS.get(node.kind, "unknown")
    strict = f" {node.mode}" if node.mode in ("full", "selective") else ""
    yield (
        f'<rect class="box {kind}{strict}" x="{x:.0f}" y="{y - item.height / 2:.0f}"'
        f' width="{BOX_WIDTH}" height="{item.height:.0f}" rx="10"/>'
    )
    name = node.name if len(node.name) <= 18 else node.name[:17] + "…"
    yield _text("name", x + BOX_WIDTH / 2, y - 3, name)
    about = f"{node.members} " if kind == "group" else ""
    what = "member" if about == "1 " else _ABOUT.get(node.kind, "")
    yield _text("about", x + BOX_WIDTH / 2, y + 15, f"{about}{what} · {node.mode}")


def _text(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'
    )


def _arrow(edge: pb.MapEdge, way: Way) -> str:
    tone = colour(edge)
    dash = ' stroke-dasharray="6 5"' if edge.denied and not edge.allowed else ""
    width = min(4.0, 1.5 + 0.5 * math.log10(max(1, edge.count)))
    return (
        f'<path class="arrow" d="{way.path}" stroke="{tone}" stroke-width="{width:.1f}"{dash}'
        f' marker-end="url(#head{tone[1:]})"><title>{escape(_story(edge))}</title></path>'
    )


def _story(edge: pb.MapEdge) -> str:
    """Return all that is known of an arrow, shown where the mouse points at it."""
    parts = [
        f"{edge.source} to {edge.destination}: {', '.join(edge.services)}",
        f"{edge.allowed} allowed, {edge.denied} denied",
    ]
    if edge.staged_would_deny:
        parts.append(f"the staged revision would deny {edge.staged_would_deny}")
    if edge.staged_would_allow:
        parts.append(f"the staged revision would allow {edge.staged_would_allow}")
    return "; ".join(parts)


def _says(edge: pb.MapEdge, way: Way) -> str:
    where = f'x="{way.x:.0f}" y="{way.y:.0f}" text-anchor="{way.anchor}"'
    return f'<text class="says" {where} style="fill:{colour(edge)}">{escape(label(edge))}</text>'


def _legend(top: float, answer: pb.GetMapResponse) -> Iterator[str]:
    x = MARGIN + 4
    for tone, words in LEGEND:
        ends = f'x1="{x:.0f}" y1="{top + 4:.0f}" x2="{x + 26:.0f}" y2="{top + 4:.0f}"'
        yield (
            f'<line {ends} stroke="{tone}" stroke-width="2.4" marker-end="url(#head{tone[1:]})"/>'
        )
        yield f'<text class="about" x="{x + 34:.0f}" y="{top + 8:.0f}">{words}</text>'
        x += 58 + 6.1 * len(words)
    x, top = MARGIN + 4, top + 22
    for kind, words in _BOXES:
        yield (
            f'<rect class="box {kind}" x="{x:.0f}" y="{top:.0f}" width="26" height="16" rx="4"/>'
        )
        yield f'<text class="about" x="{x + 34:.0f}" y="{top + 12:.0f}">{words}</text>'
        x += 58 + 6.1 * len(words)
    lost = answer.loss.lost
    words = f"{lost} flows lost by telemetry" if lost else "no flow lost by telemetry"
    yield f'<text class="about" x="{MARGIN + 4:.0f}" y="{top + 38:.0f}">{words}</text>'
