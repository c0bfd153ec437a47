"""Flows that were not seen from their beginning: what a policy says of them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controlplane.model.workload import Packet
from controlplane.policy.compile.reader import Reader
from tests.unit.policy.company import ADDRESS, compiled

TCP = 6


def allowed(modes: str, source: str, destination: str, sport: int, dport: int) -> bool:
    """Whether a segment passes that belongs to no connection, and does not open one."""
    here, there = ip_address(ADDRESS[source]), ip_address(ADDRESS[destination])
    packet = Packet(4, TCP, dport, 0, sport)
    return Reader(compiled(modes).tables).older_verdict("red", here, there, packet).allowed


@pytest.mark.parametrize(
    ("source", "destination", "sport", "dport", "wanted"),
    [
        ("web", "app", 40_000, 8080, True),
        ("app", "web", 8080, 40_000, True),  # what the server says
        ("web", "app", 40_000, 8081, False),
        ("app", "web", 8081, 40_000, False),
        ("app", "web", 40_000, 8080, False),  # in the other direction no rule allows it
        ("web", "db", 40_000, 5432, False),
    ],
)
def test_a_rule_that_allows_one_of_the_two_flows_decides(
    source: str, destination: str, sport: int, dport: int, wanted: bool
) -> None:
    assert allowed("modes: {default: full}", source, destination, sport, dport) is wanted


def test_without_a_rule_that_allows_both_directions_must_be_allowed() -> None:
    """``deny dev to prod`` stands under ``visibility``: the answer of prod opens nothing either."""
    assert not allowed("", "devweb", "db", 40_000, 5432)
    assert not allowed("", "db", "devweb", 5432, 40_000)
    assert allowed("", "web", "db", 40_000, 5432)
    assert allowed("", "db", "web", 5432, 40_000)
