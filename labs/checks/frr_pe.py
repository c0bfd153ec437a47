"""What a lab with FRR as the other PE shows."""

from __future__ import annotations

from collections.abc import Iterator

from labs.checks.node import established, sessions_text
from labs.checks.reach import PATIENCE, mesh
from labs.lab import RunningLab
from labs.peers.frr import query
from labs.topology import Check, Outcome
from labs.waiting import until

SITES = tuple((vpn, n) for vpn in ("red", "blue") for n in (1, 2))


def sessions(lab: RunningLab) -> Iterator[Outcome]:
    """The session between the two makes is up, as both see it."""
    ok = until(lambda: established(lab, "pe1", 1), PATIENCE, every=1.0)
    yield Outcome(ok, "pe1: its session with FRR is up", sessions_text(lab, "pe1"))
    peers = query(lab, "pe2", "show bgp ipv4 vpn summary json")["peers"]
    state = {address: peer["state"] for address, peer in peers.items()}
    yield Outcome(set(state.values()) == {"Established"}, "FRR says the same", str(state))


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """Sites find each other across the two makes."""
    yield from mesh(lab, SITES)


CHECKS: tuple[Check, ...] = (sessions, reach)
