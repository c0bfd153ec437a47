"""What holds where the core distributes no labels: see ``labs.topologies.unlabelled``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labs.checks.node import show
from labs.checks.reach import lan_address, reaches, said
from labs.lab import RunningLab
from labs.site import command as site
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
    """Red's packets do not arrive at blue's site behind pe2, nor anywhere else."""
    until(lambda: "own link" in _reason(lab), PATIENCE, every=0.5)
    reason = _reason(lab)
    yield Outcome("no label" in reason, "pe1 says why the route is inactive", reason)
    # blue's site 2 gets an address of red's site 3: it would answer in its place.
    lab.run("ce-blue-2", "ip", "addr", "add", "10.3.0.1/24", "dev", "lan0")
    lab.run("pe2", "ip", "route", "replace", RED_3, "via", "192.168.2.2", "vrf", "blue")
    ask = (*site(), "who", lan_address(3, v6=False), lan_address(1, v6=False))
    done = lab.run("ce-red-1", *ask, check=False)
    lab.run("pe2", "ip", "route", "del", RED_3, "vrf", "blue")
    lab.run("ce-blue-2", "ip", "addr", "del", "10.3.0.1/24", "dev", "lan0")
    yield Outcome("ce-blue" not in done.stdout, "ce-red-1 does not reach ce-blue-2", said(done))
    yield Outcome(done.returncode != 0, "ce-red-1 reaches no site at all", said(done))


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
    a_label_switched_path_brings_it_to_life,
)
