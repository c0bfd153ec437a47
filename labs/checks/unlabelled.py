"""What holds where the core distributes no labels: see ``labs.topologies.unlabelled``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labs.checks.node import show
from labs.checks.reach import lan_address, ping, reaches
from labs.lab import RunningLab
from labs.peers.pe import API, command
from labs.topology import Outcome
from labs.waiting import until

PATIENCE = 60.0
RED_3 = "10.3.0.0/24"


def neighbours_reach_each_other(lab: RunningLab) -> Iterator[Outcome]:
    """Between adjacent PEs the VPN label goes out alone, and that is right."""
    for v6 in (False, True):
        yield reaches(lab, "blue", 1, 2, v6=v6)
        yield reaches(lab, "blue", 2, 1, v6=v6)


def nothing_crosses_to_another_vpn(lab: RunningLab) -> Iterator[Outcome]:
    """Red's packets do not arrive at blue's site behind pe2."""
    until(lambda: "own link" in _reason(lab), PATIENCE, every=0.5)
    reason = _reason(lab)
    yield Outcome("no label" in reason, "pe1 says why the route is inactive", reason)
    arrived = _arrived_at_blue(lab)
    yield Outcome(arrived == 0, "no packet of red arrives at ce-blue-2", f"{arrived} arrived")


def control_a_neighbour_that_is_none(lab: RunningLab) -> Iterator[Outcome]:
    """Where the configuration of pe1 calls pe3 its neighbour, they do: the attack is a real one."""
    file = lab.dir("pe1") / "pe.yaml"
    before = file.read_text()
    file.write_text(before.replace("to2: {}", "to2: {adjacent-pes: 10.255.0.3}"))
    lab.run("pe1", command(), "reload", "--socket", API)
    until(lambda: _route(lab).get("active"), PATIENCE, every=0.5)
    arrived = _arrived_at_blue(lab)
    file.write_text(before)
    lab.run("pe1", command(), "reload", "--socket", API)
    yield Outcome(arrived > 0, "red's packets arrive at ce-blue-2", f"{arrived} arrived")


def _arrived_at_blue(lab: RunningLab) -> int:
    """Ping red's site 3 from red's site 1, and count the requests that ce-blue-2 gets. It has that
    address for as long, and blue a route to it."""
    route = ("10.3.0.0/24", "via", "192.168.2.2", "vrf", "blue")
    lab.run("ce-blue-2", "ip", "addr", "add", "10.3.0.1/24", "dev", "lan0")
    lab.run("pe2", "ip", "route", "replace", *route)
    before = _echo_requests(lab)
    ping(lab, "ce-red-1", lan_address(3, v6=False), lan_address(1, v6=False), count=5)
    arrived = _echo_requests(lab) - before
    lab.run("pe2", "ip", "route", "del", *route)
    lab.run("ce-blue-2", "ip", "addr", "del", "10.3.0.1/24", "dev", "lan0")
    return arrived


def _echo_requests(lab: RunningLab) -> int:
    """How many echo requests ce-blue-2 has received (IcmpInEchos of RFC 2011)."""
    lines = lab.run("ce-blue-2", "cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split() for line in lines if line.startswith("Icmp:"))
    return int(values[names.index("InEchos")])


def a_label_switched_path_brings_it_to_life(lab: RunningLab) -> Iterator[Outcome]:
    """With a label on top the same route is used, at once."""
    for here, there, via, port in ((1, 3, "10.0.1.2", "to2"), (3, 1, "10.0.3.2", "to2")):
        label, out = f"10{there}", {3: ("10.0.3.1", "to3"), 1: ("10.0.1.1", "to1")}[there]
        pop = ("ip", "-f", "mpls", "route", "add", label, "via", "inet", out[0], "dev", out[1])
        lab.run("pe2", *pop)
        way = (f"10.255.0.{there}/32", "encap", "mpls", label, "via", via, "dev", port)
        lab.run(f"pe{here}", "ip", "route", "replace", *way, "src", f"10.255.0.{here}")
    active = until(lambda: _route(lab).get("active"), PATIENCE, every=0.5)
    yield Outcome(active, "pe1 uses the route", json.dumps(_route(lab)))
    yield reaches(lab, "red", 1, 3, v6=False)
    yield reaches(lab, "red", 1, 3, v6=True)


def _route(lab: RunningLab) -> dict[str, object]:
    found = show(lab, "pe1", "routes", "red", "--prefix", RED_3)
    return dict(found[0]) if found else {}


def _reason(lab: RunningLab) -> str:
    return str(_route(lab).get("inactive_reason", ""))


CHECKS = (
    neighbours_reach_each_other,
    nothing_crosses_to_another_vpn,
    control_a_neighbour_that_is_none,
    a_label_switched_path_brings_it_to_life,
)
