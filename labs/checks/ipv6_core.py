"""What a core without IPv4 shows: see ``labs.topologies.ipv6_core``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from labs.checks.node import established, sessions_text, show
from labs.checks.reach import PATIENCE, mesh
from labs.lab import RunningLab
from labs.topology import Check, Outcome
from labs.waiting import until

SITES = tuple((vpn, n) for vpn in ("red", "blue") for n in (1, 2, 3))
REMOTE = ("10.2.0.0/24", "2001:db8:2::/64", "10.3.0.0/24", "2001:db8:3::/64")


def no_ipv4(lab: RunningLab) -> Iterator[Outcome]:
    """Neither core link nor PE has an IPv4 address in the core."""
    found = lab.run("p", "ip", "-4", "-br", "addr", "show", "scope", "global").stdout
    found += lab.run("pe1", "ip", "-4", "-br", "addr", "show", "dev", "core0").stdout
    yield Outcome("10." not in found, "the core has no IPv4", found)


def sessions(lab: RunningLab) -> Iterator[Outcome]:
    """Both Bulkheads have their sessions with each other and with FRR."""
    for pe in ("pe1", "pe2"):
        ok = until(partial(established, lab, pe, 2), PATIENCE, every=1.0)
        yield Outcome(ok, f"{pe}: its two sessions are up", sessions_text(lab, pe))


def next_hops(lab: RunningLab) -> Iterator[Outcome]:
    """Routes of both families have the other PE's IPv6 loopback as next hop."""
    for prefix in REMOTE:
        until(partial(_route, lab, prefix), PATIENCE, every=0.5)
        route = _route(lab, prefix)
        ok = str(route.get("next_hop", "")).startswith("2001:db8:255::")
        yield Outcome(ok, f"pe1 has {prefix} by an IPv6 next hop", json.dumps(route))


def _route(lab: RunningLab, prefix: str) -> dict[str, object]:
    found = show(lab, "pe1", "routes", "red", "--prefix", prefix)
    return next((dict(route) for route in found if route.get("active")), {})


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """Sites find each other, in both families and over both makes, and no other site."""
    yield from mesh(lab, SITES)


CHECKS: tuple[Check, ...] = (no_ipv4, sessions, next_hops, reach)
