"""The journal lines of flows that a log rule matched, so many a second."""

from __future__ import annotations

from controlplane.model.effects import LogEvent
from controlplane.policy.insight.flowbook import Seen

LINES_PER_SECOND = 100
"""Of the node: beyond that flows are counted and have no line."""


class LoggedFlows:
    """Watches the flow book. A second is one of the kernel's time stamps."""

    def __init__(self) -> None:
        self._second, self._lines = 0, 0
        self._waiting: list[LogEvent] = []
        self.left_out = 0
        """Flows that have no line."""

    def note(self, seen: Seen) -> None:
        """Make the line of one record; the first of a second that has none is reported."""
        if int(seen.last) != self._second:
            self._second, self._lines = int(seen.last), 0
        self._lines += 1
        if self._lines <= LINES_PER_SECOND:
            self._waiting.append(LogEvent("info", "flow_logged", _fields(seen)))
            return
        self.left_out += 1
        if self._lines == LINES_PER_SECOND + 1:
            cure = "narrow the log rules; `pe flows --logged` has all of these flows"
            fields: dict[str, str | int] = {"limit": LINES_PER_SECOND, "left_out": self.left_out}
            self._waiting.append(
                LogEvent("warning", "logged_flows_left_out", {**fields, "cure": cure})
            )

    def lines(self) -> list[LogEvent]:
        """Return the lines since the last call."""
        lines, self._waiting = self._waiting, []
        return lines


def _fields(seen: Seen) -> dict[str, str | int]:
    return {
        "vrf": seen.vrf,
        "source": str(seen.source),
        "destination": str(seen.destination),
        "service": str(seen.service),
        "source_port": seen.sport,
        "verdict": "allowed" if seen.enforced.allowed else "denied",
        "rule": seen.enforced.rule,
        "older": int(seen.older),
    }
