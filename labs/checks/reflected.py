"""What a lab with a route reflector shows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from labs.checks.node import established, sessions_text, show
from labs.checks.reach import PATIENCE, mesh
from labs.lab import RunningLab
from labs.topology import Check, Outcome
from labs.waiting import until

SITES = (("red", 1), ("red", 2), ("red", 3), ("blue", 1), ("blue", 3))


def sessions(lab: RunningLab) -> Iterator[Outcome]:
    """Every PE has its session with the reflector."""
    for node in ("pe1", "pe2", "pe3"):
        ok = until(partial(established, lab, node, 1), PATIENCE, every=1.0)
        yield Outcome(ok, f"{node}: its session with the reflector is up", sessions_text(lab, node))


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """Sites find each other through reflected routes."""
    yield from mesh(lab, SITES)


def only_what_is_imported(lab: RunningLab) -> Iterator[Outcome]:
    """pe2 has a blue VRF without a site: it knows both blue sites; red's equal ones are apart."""
    for vpn, want in (("blue", {"pe1", "pe3"}), ("red", {"pe1", "pe3"})):
        routes = show(lab, "pe2", "routes", vpn)
        remote = {r["prefix"]: r["next_hop"] for r in routes if r["prefix"].startswith("10.")}
        ends = {f"pe{hop[-1]}" for prefix, hop in remote.items() if prefix != "10.2.0.0/24"}
        yield Outcome(ends == want, f"pe2's {vpn} has routes of {sorted(want)}", str(remote))


CHECKS: tuple[Check, ...] = (sessions, reach, only_what_is_imported)
