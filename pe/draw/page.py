"""Draw the map as an HTML page: the picture, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from pe.draw.picture import picture
from pe.draw.style import colour

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

_STYLE = """
body{margin:2rem auto;max-width:1400px;padding:0 1.5rem;background:#fff;color:#1f2933;
font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
h1{font-size:1.35rem;margin:0 0 1rem}table{border-collapse:collapse;margin-top:2rem;
font-size:.86rem;width:100%}th,td{text-align:left;padding:.4rem .7rem;
border-bottom:1px solid #e4e7eb}th{color:#52606d;font-weight:600}th.n,td.n{text-align:right}
svg{width:100%;height:auto}
"""


def page(answer: pb.GetMapResponse, node: str) -> str:
    """Return a whole HTML document without anything from elsewhere."""
    title = f"Who talks to whom at {escape(node)}"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            picture(answer),
            "<table><tr><th>VRF<th>From<th>To<th>Services",
            '<th class="n">Allowed<th class="n">Denied<th>Last seen (UTC)</tr>',
            *_rows(answer),
            "</table></body></html>",
        ]
    )


def _rows(answer: pb.GetMapResponse) -> Iterator[str]:
    for edge in sorted(answer.edges, key=lambda e: -e.count):
        last = datetime.fromtimestamp(edge.last.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        texts = (edge.vrf, edge.source, edge.destination, ", ".join(edge.services))
        cells = "".join(f"<td>{escape(text)}" for text in texts)
        counts = f'<td class="n">{edge.allowed}<td class="n">{edge.denied}'
        yield f'<tr style="color:{colour(edge)}">{cells}{counts}<td>{last}</tr>'
