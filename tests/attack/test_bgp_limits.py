"""BGP-4, 5, 11 and DOS-3, 4, 7: one customer's routes, and what they may cost the others."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from labs.attack import bgp, plan
from labs.attack.edit import edited
from labs.attack.inside import inside
from labs.attack.net import Net, circuit
from labs.waiting import until
from tests.attack.speech import (
    AS,
    SECONDS,
    announce,
    both,
    children,
    connection,
    core_route,
    done,
    from_core,
    has,
    learned,
    log_tail,
    memory,
    node_pid,
    own,
    state,
    taken,
    to_pe,
    withdraw,
)

RED, BLUE = circuit("red", 1), circuit("blue", 1)
BOUND_KB = 40_000
"""What the node and its child may each grow by while a million routes arrive."""

BLUE_SECONDS = 5.0
"""How soon a change of blue's is in force, whatever red does (on the lab kernel, one CPU)."""


class Growth:
    """The most by which the node and red's child have grown."""

    def __init__(self, net: Net) -> None:
        self._pids = (node_pid(net), children(net)["red"])
        self._before = [memory(pid) for pid in self._pids]
        self.most = [0, 0]

    def look(self) -> None:
        """Measure."""
        now = [memory(pid) for pid in self._pids]
        grown = [n - b for n, b in zip(now, self._before, strict=True)]
        self.most = [max(m, g) for m, g in zip(self.most, grown, strict=True)]


def packed(version: int, first: int, count: int) -> bytes:
    """NLRI of so many host routes (/64 in IPv6) that nobody has."""
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
    """Seconds until a change of blue's is in force."""
    prefix = f"10.101.{number % 200}.0/24"
    started = time.monotonic()
    blue.send(announce(prefix, asns=(plan.CE_AS["blue"],)))
    assert until(lambda: has(net, "blue", prefix), SECONDS), log_tail(net)
    waited = time.monotonic() - started
    blue.send(withdraw(prefix))
    return waited


# -- BGP-4 ----------------------------------------------------------------------------------------


@both
def test_bgp_04_max_prefix(net: Net, version: int) -> None:
    """A warning at four fifths; with one more than allowed Cease/1 (RFC 4486), said before the
    end; nothing of it stays, the session is held for two seconds and then taken again. Red's
    other routes and blue do not notice."""
    prefixes = own(plan.MAX_PREFIX + 1, version)
    with to_pe("blue", version) as blue, to_pe("red", version) as session:
        session.send(announce(*prefixes[: plan.MAX_PREFIX * 4 // 5]))
        assert until(lambda: "prefix_limit_near" in log_tail(net, 4000), SECONDS), "the warning"
        session.send(announce(*prefixes[: plan.MAX_PREFIX]))
        whole = plan.MAX_PREFIX
        assert until(lambda: len(learned(net, "red", version)) == whole, SECONDS), "control"
        assert session.alive, "control: as many as allowed are taken"
        session.send(announce(prefixes[-1]))
        assert session.ended(SECONDS) == (6, 1)
        assert len(session.bodies(bgp.NOTIFICATION)) == 1
        assert until(lambda: learned(net, "red", version) == set(), SECONDS)
        assert until(lambda: is_held(net, version), 2.0) or "idle_hold_over" in log_tail(net)
        assert has(net, "red", "10.3.0.0/24")
        net.sentinel(RED)
        net.sentinel(BLUE)
        done(net, blue, "blue", version)
        assert blue.alive
    with to_pe("red", version) as again:
        taken(net, again, prefixes[0])


def is_held(net: Net, version: int) -> bool:
    """True while the session is held down."""
    found = state(net, "red", version)
    return found.state == found.SESSION_STATE_HELD_DOWN  # type: ignore[attr-defined,no-any-return]


def test_bgp_04_a_held_session_is_not_taken(net: Net) -> None:
    """With a hold that does not end by itself, the CE may knock as it likes; an operator lets it
    in again."""
    mark = f"max-prefix: {{maximum: {plan.MAX_PREFIX}, idle-hold: 2}}"

    def for_good(text: str) -> str:
        return text.replace(mark, mark.replace("idle-hold: 2", "idle-hold: 0"), 1)

    with edited(net, for_good):
        with to_pe() as session:
            session.send(announce(*own(plan.MAX_PREFIX + 1)))
            assert session.ended(SECONDS) == (6, 1)
        assert until(lambda: is_held(net, 4), SECONDS)
        for _ in range(3):
            near, mine = plan.gateway(1, 4), plan.ce(1, 4)
            knock = bgp.connect("ce-red-1", mine, near, md5=plan.KEYS["red"], seconds=1.0)
            if knock is not None:
                with knock:
                    knock.send(bgp.Greeting(AS).packed())
                    knock.listen(2.0, lambda k=knock: k.closed)  # type: ignore[misc]
                    assert knock.bodies(bgp.KEEPALIVE) == []
        net.pe1.clear_neighbor(plan.ce(1, 4), "red")
        with to_pe() as again:
            taken(net, again, "10.101.1.0/24")


@both
def test_bgp_04_a_million_routes_beyond_the_limit(net: Net, version: int) -> None:
    """The stream is cut off at the limit; memory does not grow with what is sent."""
    first = "10.1.0.0/16 le 24" if version == 4 else '"2001:db8:1::/48 le 64"'
    more = "11.0.0.0/8 le 32" if version == 4 else '"2a01::/16 le 64"'

    def open_wide(text: str) -> str:
        return text.replace(f"import: [{first}", f"import: [{more}, {first}", 1)

    with edited(net, open_wide), to_pe("blue") as blue:
        growth = Growth(net)
        with to_pe("red", version) as session:
            pour(session, version, growth.look)
            assert session.ended(SECONDS) == (6, 1)
        growth.look()
        assert blue_notices(net, blue, version) < BLUE_SECONDS
        assert blue.alive
        assert max(growth.most) < BOUND_KB, growth.most
        assert until(lambda: not learned(net, "red", version), SECONDS)


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


@both
def test_bgp_04_a_million_routes_that_are_not_the_customers(net: Net, version: int) -> None:
    """Each of them is refused and counted; the session stays, and memory does not grow."""
    with to_pe("blue") as blue, to_pe("red", version) as session:
        growth = Growth(net)
        before = state(net, "red", version).refused["policy"]  # type: ignore[attr-defined]
        pour(session, version, growth.look)
        assert blue_notices(net, blue, version) < BLUE_SECONDS
        done(net, session, "red", version)
        growth.look()
        refused = state(net, "red", version).refused["policy"] - before  # type: ignore[attr-defined]
        assert refused == 1_000_000, "control: they were all heard"
        assert max(growth.most) < BOUND_KB, growth.most
        assert session.alive
        assert blue.alive


# -- BGP-5 ----------------------------------------------------------------------------------------

FLAPS_A_SECOND, FLAP_SECONDS = 5000, 20.0


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
    five seconds all the while, the kernel is written once for many of them, and what red has in
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


def test_bgp_11_a_ce_bounces_a_hundred_times(net: Net) -> None:
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
            refused += bounce(turn)
        assert growth is not None
        assert until(lambda: learned(net) == set(), SECONDS)
        growth.look()
        assert refused, "it is made to wait"
        assert max(growth.most) < 10_000, growth.most
        assert [entry.label for entry in net.pe1.show_labels()] == labels
        assert len(net.pe1.show_neighbors()) == neighbors
        done(net, blue, "blue")
        assert blue.alive
    with to_pe() as session:
        taken(net, session, *own(20))


def bounce(turn: int) -> int:
    """A session with twenty routes, ended without a word; how often it was refused first."""
    deadline, refused = time.monotonic() + 4 * SECONDS, 0
    while time.monotonic() < deadline:
        with connection() as session:
            session.send(bgp.Greeting(AS).packed())
            session.listen(5.0, lambda s=session: s.bodies(bgp.OPEN) or s.closed)  # type: ignore[misc]
            session.send(bgp.message(bgp.KEEPALIVE))
            session.listen(5.0, lambda s=session: s.bodies(bgp.KEEPALIVE) or s.closed)  # type: ignore[misc]
            if session.bodies(bgp.KEEPALIVE) and session.notification is None:
                session.send(announce(*own(20)))
                return refused
            refused += session.notification == (6, 5)
    raise AssertionError(f"bounce {turn}: no session")


def graceful(seconds: int, *, forwarding: bool = True) -> bytes:
    """The graceful restart capability (RFC 4724), IPv4 unicast."""
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


# -- DOS-3, 4, 7 ----------------------------------------------------------------------------------


@both
def test_dos_03_a_vrf_has_its_limit(net: Net, version: int) -> None:
    """Without max-prefix and with every prefix allowed, a CE fills its own VRF up to the VRF's
    limit: memory of node, child and kernel is bounded, and blue goes on."""
    mark = f'      "{plan.ce(1, version)}":\n        asn: {AS}'

    def without_limits(text: str) -> str:
        head, _, rest = text.partition(mark)
        lines = rest.splitlines(keepends=True)
        for n, line in enumerate(lines[:10]):
            if line.strip().startswith("import:"):
                lines[n] = "        import: any\n"
            if line.strip().startswith("max-prefix:"):
                lines[n] = "        max-prefix: off\n"
                break
        return head + mark + "".join(lines)

    with edited(net, without_limits), to_pe("blue") as blue:
        growth, before = Growth(net), slab()
        with to_pe("red", version) as session:
            pour(session, version, growth.look)
            assert blue_notices(net, blue, version) < BLUE_SECONDS
            assert until(lambda: beyond(net, version) > 999_000, 300.0), beyond(net, version)
            growth.look()
            assert len(list(net.pe1.show_routes("red"))) <= plan.ROUTE_LIMIT
            assert len(learned(net, "red", version)) > plan.ROUTE_LIMIT // 2, "control"
            assert max(growth.most) < BOUND_KB, growth.most
            assert slab() - before < 20_000, "kB of kernel memory"
            assert session.alive
        assert until(lambda: not learned(net, "red", version), SECONDS)
        done(net, blue, "blue")
        assert blue.alive


def beyond(net: Net, version: int) -> int:
    """Red's routes for which its VRF had no room."""
    return state(net, "red", version).refused["route-limit"]  # type: ignore[attr-defined,no-any-return]


def slab() -> int:
    """The kernel's memory for objects, in kB: its routes are in there."""
    with open("/proc/meminfo") as info:  # noqa: PTH123 - a line of it is all
        return next(int(line.split()[1]) for line in info if line.startswith("SUnreclaim"))


def test_dos_04_prefixes_take_no_labels(net: Net) -> None:
    """One label for the VPN, however many prefixes a CE announces: fifty that are taken, and a
    hundred thousand that are not."""
    before = sorted(entry.label for entry in net.pe1.show_labels())
    with to_pe() as session:
        taken(net, session, *own(plan.MAX_PREFIX - 1))
        for message in stream(4, 100_000):
            session.send(message)
        done(net, session)
        assert sorted(entry.label for entry in net.pe1.show_labels()) == before
        assert session.alive
    assert sorted(entry.label for entry in net.pe1.show_labels()) == before


def test_dos_07_a_peer_that_does_not_read(net: Net) -> None:
    """Red's CE asks for everything again and again, and reads nothing: what waits for it is
    bounded, its table is told once a second at most, and blue is served all the while."""
    with from_core(bgp.VPNV4) as core:
        routes = [f"10.{60 + n // 100}.{n % 100}.0/24" for n in range(300)]
        for prefix in routes:
            core.send(core_route(prefix))
        assert until(lambda: has(net, "red", routes[-1]), SECONDS)
        with to_pe() as slow, to_pe("blue") as quick:
            slow.connection.settimeout(60.0)
            growth = Growth(net)
            for turn in range(200):
                slow.send(bgp.refresh(1, 1) * 50)
                if turn % 40 == 0:
                    assert blue_notices(net, quick, turn) < BLUE_SECONDS
                    growth.look()
            assert blue_notices(net, quick, 7) < BLUE_SECONDS
            growth.look()
            assert max(growth.most) < 10_000, growth.most
            assert quick.alive
            # Control: it is read at last, and the table came more than once and not 10,000 times.
            slow.listen(5.0, lambda: bgp.announced(slow).count(routes[-1]) > 1)
            times = bgp.announced(slow).count(routes[-1])
            assert 1 < times < 200, times
            slow.send(bgp.notify(6, 2))
            slow.listen(SECONDS)
            assert slow.closed, "what it was sent, it has read; so its end is heard"
