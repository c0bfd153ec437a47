"""New connections across red, and how many pe1 tracks."""

from __future__ import annotations

from labs.attack import ip, plan
from labs.attack.inside import run_in
from labs.attack.net import Circuit


def flows(at: Circuit, version: int, count: int, first: int = 2000) -> list[bytes]:
    """Return the first packets of so many flows to the other site."""
    source, target = plan.lan(1, version), plan.lan(2, version)
    packet = ip.udp(source, target, 0, b"x", sport=0)
    ports = range(first, first + count)
    found = ip.varied(packet, ip.ports_at(source), ports, ip.sum_at(source, ip.UDP))
    return [at.frame(one) for one in found]


def tracked(zone: int) -> int:
    """How many connections pe1 tracks in a zone."""
    listed = [run_in("pe1", "conntrack", "-L", "-f", f, "-w", str(zone), check=False)
              for f in ("ipv4", "ipv6")]  # fmt: skip
    return sum(text.count("\n") for text in listed)
