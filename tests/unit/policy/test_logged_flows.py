"""The journal lines of logged flows are bounded, and what is left out is counted."""

from __future__ import annotations

from ipaddress import ip_address

from controlplane.model.flow import FlowRecord
from controlplane.model.verdict import ALLOW_BIT, LOG_BIT
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.insight.logged_flows import LINES_PER_SECOND, LoggedFlows
from controlplane.policy.insight.rule_names import by_number

A, B = ip_address("10.0.0.1"), ip_address("10.0.0.2")


class Log:
    """A flow book whose logged flows have lines."""

    def __init__(self) -> None:
        self.book, self.flows = FlowBook(), LoggedFlows()
        self.book.watch_logged(self.flows.note)

    def lines(self, at: float, word: int, count: int = 1) -> list[str]:
        """Return the events of the lines about so many flows of a moment."""
        records = [FlowRecord(at, "red", A, B, 6, n, 443, -1, word, None) for n in range(count)]
        self.book.take(records, 0, at, by_number, by_number)
        return [line.event for line in self.flows.lines()]


def test_a_logged_flow_has_a_line_and_another_has_none() -> None:
    log = Log()
    assert log.lines(1.0, ALLOW_BIT | 64) == []
    assert log.lines(1.0, ALLOW_BIT | LOG_BIT | 64) == ["flow_logged"]
    assert log.lines(1.0, LOG_BIT | 64) == ["flow_logged"]


def test_a_second_has_so_many_lines_and_the_others_are_counted() -> None:
    log = Log()
    lines = log.lines(1.5, LOG_BIT | 64, LINES_PER_SECOND + 7)
    assert lines.count("flow_logged") == LINES_PER_SECOND
    assert lines.count("logged_flows_left_out") == 1
    assert log.flows.left_out == 7
    assert log.lines(2.5, LOG_BIT | 64) == ["flow_logged"]
    (seen,) = log.book.seen()
    assert seen.count == LINES_PER_SECOND + 8  # the flow book has them all
