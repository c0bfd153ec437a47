"""Send very many routes from one CE; measure their cost and the other VPN's delay meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from labs.attack import bgp, plan
from labs.attack.net import Net
from labs.waiting import until
from tests.attack.speech import (
    AS,
    SECONDS,
    announce,
    has,
    log_tail,
    memory,
    node_pid,
    withdraw,
    workers,
)

BOUND_KB = 40_000
"""What the node and its worker may each grow by while a million routes arrive."""

BLUE_SECONDS = 10.0
"""Time limit for a change of blue's while red sends its load (on the lab kernel, one CPU)."""


class Growth:
    """The most by which the node and red's worker have grown."""

    def __init__(self, net: Net) -> None:
        self._pids = (node_pid(net), workers(net)["red"])
        self._before = [memory(pid) for pid in self._pids]
        self.most = [0, 0]

    def look(self) -> None:
        """Measure."""
        now = [memory(pid) for pid in self._pids]
        grown = [n - b for n, b in zip(now, self._before, strict=True)]
        self.most = [max(m, g) for m, g in zip(self.most, grown, strict=True)]


def packed(version: int, first: int, count: int) -> bytes:
    """Return NLRI of ``count`` unassigned host routes (/64 in IPv6)."""
    if version == 4:
        return b"".join(b"\x20" + (0x0B000000 + first + n).to_bytes(4) for n in range(count))
    base = 0x2A01 << 112
    return b"".join(
        b"\x40" + (base + (first + n << 64)).to_bytes(16)[:8] for n in range(count)
    )  # fmt: skip


def stream(version: int, total: int) -> Iterator[bytes]:
    """UPDATEs with so many different routes."""
    each = 780 if version == 4 else 430
    attributes = bgp.path(AS, plan.ce(1, 4)) if version == 4 else bgp.path(AS)
    for first in range(0, total, each):
        nlri = packed(version, first, min(each, total - first))
        if version == 4:
            yield bgp.update(attributes, nlri)
        else:
            address = bgp.packed_next_hop(plan.ce(1, 6), vpn=False)
            yield bgp.update(bgp.mp_reach(bgp.IPV6, address, nlri) + attributes)


def blue_notices(net: Net, blue: bgp.Session, number: int) -> float:
    """Return seconds until a change of blue's is in force."""
    prefix = f"10.101.{number % 200}.0/24"
    started = time.monotonic()
    blue.send(announce(prefix, asns=(plan.CE_AS["blue"],)))
    assert until(lambda: has(net, "blue", prefix), SECONDS), log_tail(net)
    waited = time.monotonic() - started
    blue.send(withdraw(prefix))
    return waited


def pour(session: bgp.Session, version: int, look: Callable[[], None]) -> int:
    """Send a million routes, or as many as are taken; gives how many UPDATEs that were."""
    session.connection.settimeout(60.0)
    sent = 0
    for sent, message in enumerate(stream(version, 1_000_000), 1):
        session.send(message)
        if sent % 100 == 0:
            look()
            if not session.alive:
                break
    return sent
