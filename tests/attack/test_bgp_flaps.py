"""BGP-5 and BGP-11: routes and sessions that come and go."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labs.attack import bgp
from labs.attack.net import Net
from labs.namespaces import inside
from labs.waiting import until
from tests.attack.speech import (
    AS,
    FAMILIES,
    SECONDS,
    announce,
    both,
    connection,
    done,
    has,
    learned,
    log_tail,
    own,
    taken,
    to_pe,
    withdraw,
)
from tests.attack.streams import BLUE_SECONDS, Growth, blue_notices

# -- BGP-5 ----------------------------------------------------------------------------------------

FLAPS_A_SECOND, FLAP_SECONDS = 5000, 60.0


class Flapper(threading.Thread):
    """Announces and withdraws so many routes a second, one to an UPDATE, until it is stopped."""

    def __init__(self, session: bgp.Session, prefixes: list[str]) -> None:
        super().__init__()
        self._session, self._over = session, threading.Event()
        pairs = [(announce(p), withdraw(p)) for p in prefixes]
        self._round = b"".join(message for pair in pairs for message in pair)
        self._each = 2 * len(prefixes)
        self.sent = 0

    def run(self) -> None:
        started = time.monotonic()
        while not self._over.is_set():
            self._session.send(self._round)
            self.sent += self._each
            ahead = self.sent / FLAPS_A_SECOND - (time.monotonic() - started)
            if ahead > 0:
                self._over.wait(ahead)

    def stop(self) -> None:
        self._over.set()
        self.join(60.0)


@contextmanager
def route_changes(node: str) -> Iterator[list[str]]:
    """What the kernel of a node says about its routes meanwhile; complete when it is left."""
    found: list[str] = []
    with inside(node):
        monitor = subprocess.Popen(
            ["ip", "monitor", "route"], stdout=subprocess.PIPE, text=True
        )  # fmt: skip
    assert monitor.stdout is not None
    try:
        yield found
    finally:
        monitor.terminate()
        found += monitor.stdout.read().splitlines()
        monitor.wait()


@both
def test_bgp_05_flaps(net: Net, version: int) -> None:
    """A CE announces and withdraws 5,000 routes a second; a change of blue's is in force within
    the bound all the while, the kernel is written once for many of them, and what red has in
    the end is what it said last."""
    prefixes = own(40, version)
    with to_pe("red", version) as session, to_pe("blue") as blue:
        flapper = Flapper(session, prefixes)
        waits: list[float] = []
        with route_changes("pe1") as changes:
            flapper.start()
            try:
                end = time.monotonic() + FLAP_SECONDS
                while time.monotonic() < end:
                    waits.append(blue_notices(net, blue, len(waits)))
            finally:
                flapper.stop()
            session.send(announce(prefixes[0]))
            assert until(lambda: learned(net, "red", version) == {prefixes[0]}, 120.0)
        reds = [line for line in changes if any(p in line for p in prefixes)]
        assert flapper.sent >= FLAPS_A_SECOND * FLAP_SECONDS / 4, "control: the machine kept up"
        assert len(reds) < flapper.sent / 4, (len(reds), flapper.sent)
        assert max(waits) < BLUE_SECONDS, waits
        assert session.alive
        assert blue.alive


# -- BGP-11 ---------------------------------------------------------------------------------------


@both
def test_bgp_11_a_ce_bounces_a_hundred_times(net: Net, version: int) -> None:
    """Each time it leaves twenty routes behind: in the end there are none, no label, neighbour or
    memory more than before, it was made to wait on the way, and blue has not noticed."""
    labels = [entry.label for entry in net.pe1.show_labels()]
    neighbors = len(net.pe1.show_neighbors())
    refused = 0
    with to_pe("blue") as blue:
        growth: Growth | None = None
        for turn in range(100):
            if turn == 20:
                growth = Growth(net)
            refused += bounce(turn, version)
        assert growth is not None
        assert until(lambda: learned(net, "red", version) == set(), SECONDS)
        growth.look()
        assert refused, "it is made to wait"
        assert max(growth.most) < 10_000, growth.most
        assert [entry.label for entry in net.pe1.show_labels()] == labels
        assert len(net.pe1.show_neighbors()) == neighbors
        done(net, blue, "blue")
        assert blue.alive
    with to_pe("red", version) as session:
        taken(net, session, *own(20, version))


def bounce(turn: int, version: int) -> int:
    """Return a session with twenty routes, ended without a word; how often it was refused first."""
    deadline, refused = time.monotonic() + 4 * SECONDS, 0
    while time.monotonic() < deadline:
        with connection("red", version) as session:
            session.send(bgp.Greeting(AS, families=(FAMILIES[version],)).packed())
            session.listen(5.0, lambda s=session: s.bodies(bgp.OPEN) or s.closed)  # type: ignore[misc]
            session.send(bgp.message(bgp.KEEPALIVE))
            session.listen(5.0, lambda s=session: s.bodies(bgp.KEEPALIVE) or s.closed)  # type: ignore[misc]
            if session.bodies(bgp.KEEPALIVE) and session.notification is None:
                session.send(announce(*own(20, version)))
                return refused
            refused += session.notification == (6, 5)
    raise AssertionError(f"bounce {turn}: no session")


def graceful(seconds: int, *, forwarding: bool = True) -> bytes:
    """Return the graceful restart capability (RFC 4724), IPv4 unicast."""
    flags = 0x80 if forwarding else 0
    return struct.pack("!BBHHBB", 64, 6, 0x8000 | seconds, 1, 1, flags)


END_OF_RIB = bgp.update()
KEPT = "10.101.30.0/24"


def left_behind(net: Net, seconds: int) -> None:
    """A CE that offered graceful restart goes without a word; its route stays for now."""
    with to_pe(extra=graceful(seconds)) as session:
        taken(net, session, KEPT)
        session.send(END_OF_RIB)
        done(net, session)
    assert until(lambda: bool(stale(net)), SECONDS), "control: it is kept, and marked"
    assert has(net, "red", KEPT)


def stale(net: Net) -> list[object]:
    """Red's stale routes."""
    return [r for r in net.pe1.show_routes("red", all_paths=True) if r.stale]


def test_bgp_11_a_restart_that_does_not_end(net: Net) -> None:
    """Five seconds are asked for, and no more are given."""
    left_behind(net, 5)
    assert until(lambda: not has(net, "red", KEPT), SECONDS)
    assert "stale_routes_expired" in log_tail(net, 4000)


@pytest.mark.parametrize("case", ["forwarding-lost", "end-of-rib", "said-again"])
def test_bgp_11_back_from_a_restart(net: Net, case: str) -> None:
    """Back without its forwarding state: gone at once. Back, and not said again until
    End-of-RIB: gone with that. Said again: it stays, and is not stale."""
    left_behind(net, 300)
    with to_pe(extra=graceful(300, forwarding=case != "forwarding-lost")) as session:
        if case == "said-again":
            session.send(announce(KEPT))
        if case != "forwarding-lost":
            session.send(END_OF_RIB)
        assert until(lambda: not stale(net), SECONDS)
        if case == "said-again":
            done(net, session)
            assert has(net, "red", KEPT)
        else:
            assert until(lambda: not has(net, "red", KEPT), SECONDS)
        session.send(bgp.notify(6, 2))
        session.listen(SECONDS)
    assert until(lambda: not has(net, "red", KEPT), SECONDS), "after a NOTIFICATION nothing stays"
