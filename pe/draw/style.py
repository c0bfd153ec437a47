"""Define colours and texts that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.v1 import flows_pb2 as pb

ALLOWED, DENIED, MIXED, AT_RISK = "#1a7f4b", "#c0362c", "#b7791f", "#6b46c1"
LEGEND = (
    (ALLOWED, "allowed"),
    (DENIED, "denied"),
    (MIXED, "some denied"),
    (AT_RISK, "allowed, but not by the staged revision"),
)
MOST_SERVICES = 3


def colour(edge: pb.MapEdge) -> str:
    """Return the colour of the verdict: denied first, then denied by the staged revision."""
    if edge.denied:
        return MIXED if edge.allowed else DENIED
    return AT_RISK if edge.staged_would_deny else ALLOWED


def label(edge: pb.MapEdge) -> str:
    """Return the label of an arrow."""
    names = list(edge.services)
    more = f" +{len(names) - MOST_SERVICES}" if len(names) > MOST_SERVICES else ""
    return f"{', '.join(names[:MOST_SERVICES])}{more} ×{edge.count}"  # noqa: RUF001
