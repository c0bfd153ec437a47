"""A route costs what it means to the workloads that it leads to, however many others there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from controlplane.model.peer import PeerId
from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from tests.scale.work import assert_flat, by_function
from tests.unit.controlplane.rig import Rig, ce_peer, port, prefix, vrf

SMALL, LARGE = 10, 300
CE, OTHER = (PeerId("red", ip_address(f"192.0.2.{n}")) for n in (2, 6))


def attached(number: int, *, at: str = "red-ce", group: int = 101) -> WorkloadAttached:
    return WorkloadAttached(
        name=f"w{number}", vrf="red", port=at, groups=frozenset({group}),
        prefixes=(prefix(f"10.{number // 250}.{number % 250}.5/32"),),
    )  # fmt: skip


def rig(workloads: int) -> Rig:
    """One VRF with so many workloads behind the CE of one port, by its default route; other routes
    come from the CE of the other port and from another PE."""
    ports = (port("red-ce", "red", "192.0.2.1/30"), port("red-b", "red", "192.0.2.5/30"))
    ces = (ce_peer("red", "192.0.2.2"), ce_peer("red", "192.0.2.6", asn=65102, port="red-b"))
    made = Rig(vrf("red", 1, ports=ports, neighbors=ces)).started().ready()
    made.up(CE)
    made.up(OTHER)
    made.ce(CE, "10.0.0.0/8")
    made.do(*(attached(n) for n in range(workloads)))
    assert all(hop.address == CE.address for hop in made.table("red").values())
    assert len(made.table("red")) == workloads + 1
    return made


EVENTS: dict[str, Callable[[Rig], object]] = {
    "the CE's route to one of them": lambda made: made.ce(CE, "10.0.3.0/24"),
    "the CE's route to none of them": lambda made: made.ce(CE, "10.200.0.0/24"),
    "a default route of another PE": lambda made: made.vpn("0.0.0.0/0"),
    "a route of another PE around them": lambda made: made.vpn("10.0.0.0/8", local_pref=50),
    "one that comes": lambda made: made.do(attached(1000)),
    "one with another group": lambda made: made.do(attached(3, group=102)),
    "one at the other port": lambda made: made.do(attached(3, at="red-b")),
    "one that goes": lambda made: made.do(WorkloadDetached("w3")),
}


def work(do: Callable[[Rig], object], workloads: int) -> Counter[str]:
    made = rig(workloads)
    return by_function(lambda: do(made))


@pytest.mark.parametrize("what", EVENTS)
def test_a_turn_costs_what_changes(what: str) -> None:
    assert_flat(work(EVENTS[what], SMALL), work(EVENTS[what], LARGE))


def test_control_the_route_that_leads_to_all_of_them_costs_each() -> None:
    def withdraw(made: Rig) -> None:
        made.withdraw(CE, "10.0.0.0/8")

    assert work(withdraw, LARGE).total() > 10 * work(withdraw, SMALL).total()
