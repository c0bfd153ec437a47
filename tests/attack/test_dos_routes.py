"""DOS-3, 4, 5, 7: routes, labels, rules and words of one VPN stay its own harm."""

from __future__ import annotations

import threading
import time

from labs.attack import bgp, plan
from labs.attack.edit import edited
from labs.attack.net import Net
from labs.waiting import until
from tests.attack.speech import (
    AS,
    SECONDS,
    announce,
    both,
    core_route,
    done,
    from_core,
    has,
    in_kernel,
    learned,
    log_tail,
    own,
    state,
    taken,
    to_pe,
)
from tests.attack.streams import BLUE_SECONDS, BOUND_KB, Growth, blue_notices, pour, stream


@both
def test_dos_03_a_vrf_has_its_limit(net: Net, version: int) -> None:
    """Without max-prefix and with every prefix allowed, a CE fills its own VRF up to the VRF's
    limit: memory of node, worker and kernel is bounded, and blue goes on."""
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


@both
def test_dos_03_the_nodes_room_is_divided(net: Net, version: int) -> None:
    """VRFs without a limit of their own, in a node that has one: what red says fills its share,
    and blue's is still there. Control: without the node's limit red has room for all of it."""
    routes = own(plan.MAX_PREFIX - 1, version)

    def unlimited(text: str) -> str:
        return text.replace(f"routes: {plan.ROUTE_LIMIT}, ", "")

    def divided(text: str) -> str:
        return f"limits: {{routes: {3 * SHARE}}}\n" + unlimited(text)

    with edited(net, unlimited), to_pe("red", version) as session:
        taken(net, session, *routes)
    assert until(lambda: not learned(net, "red", version), SECONDS)
    with edited(net, divided), to_pe("red", version) as session, to_pe("blue") as blue:
        assert {vrf.route_limit for vrf in net.pe1.show_vrfs()} == {SHARE}
        before = beyond(net, version)
        session.send(announce(*routes))
        assert until(lambda: beyond(net, version) > before, SECONDS), log_tail(net)
        assert until(lambda: len(learned(net, "red", version)) > 0, SECONDS), log_tail(net)
        assert len(learned(net, "red", version)) < SHARE
        assert blue_notices(net, blue, version) < BLUE_SECONDS
        assert session.alive
    assert until(lambda: not learned(net, "red", version), SECONDS)


SHARE = 40
"""Routes of each VRF: of its own it has some too."""


def beyond(net: Net, version: int) -> int:
    """Red's routes for which its VRF had no room."""
    return state(net, "red", version).refused["route-limit"]  # type: ignore[attr-defined,no-any-return]


def slab() -> int:
    """Return the kernel's memory for objects, in kB: its routes are in there."""
    with open("/proc/meminfo") as info:  # noqa: PTH123 - a line of it is all
        return next(int(line.split()[1]) for line in info if line.startswith("SUnreclaim"))


@both
def test_dos_04_prefixes_take_no_labels(net: Net, version: int) -> None:
    """One label for the VPN, however many prefixes a CE announces: fifty that are taken, and a
    hundred thousand that are not."""
    before = sorted(entry.label for entry in net.pe1.show_labels())
    with to_pe("red", version) as session:
        taken(net, session, *own(plan.MAX_PREFIX - 1, version))
        for message in stream(version, 100_000):
            session.send(message)
        done(net, session, version=version)
        assert sorted(entry.label for entry in net.pe1.show_labels()) == before
        assert session.alive
    assert sorted(entry.label for entry in net.pe1.show_labels()) == before


HOSTS = {4: "10.1.0.{}/32", 6: "2001:db8:1::{:x}/128"}
"""Of the site behind each VPN's first CE: a static route leads there."""
RED_HOSTS, BLUE_HOSTS = 200, 150


class Mover(threading.Thread):
    """Attaches and detaches red workloads over the API as fast as it goes."""

    def __init__(self, net: Net, version: int) -> None:
        super().__init__()
        self._net, self._over = net, threading.Event()
        self._addresses = [HOSTS[version].format(RED_HOSTS + n) for n in range(20)]
        self.done = 0

    def run(self) -> None:
        segment = self._net.pe1.segment
        while not self._over.is_set():
            named = {f"red-{n}": address for n, address in enumerate(self._addresses)}
            for name, address in named.items():
                segment.attach(name, "red", "ce-red-1", [address], {"tier": name})
            for name in named:
                segment.detach(name)
            self.done += 2 * len(named)

    def stop(self) -> None:
        """And wait until it has."""
        self._over.set()
        self.join(60.0)


@both
def test_dos_05_one_tenants_changes(net: Net, version: int) -> None:
    """Red's workloads come and go as fast as its tenant can say so: one of blue's is in the kernel
    within the bound all the while, and in the end nothing of red's is left."""
    mover, waits = Mover(net, version), []
    mover.start()
    try:
        for n in range(8):
            address, started = HOSTS[version].format(BLUE_HOSTS + n), time.monotonic()
            net.pe1.segment.attach(f"blue-{n}", "blue", "ce-blue-1", [address])
            route = address.partition("/")[0]
            assert until(lambda r=route: in_kernel(r), SECONDS), log_tail(net)  # type: ignore[misc]
            waits.append(time.monotonic() - started)
            net.pe1.segment.detach(f"blue-{n}")
    finally:
        mover.stop()
    assert mover.done, "control: red's changes are taken"
    assert max(waits) < BLUE_SECONDS, waits
    gone = HOSTS[version].format(RED_HOSTS).partition("/")[0]
    assert until(lambda: not in_kernel(gone), SECONDS)


@both
def test_dos_07_a_peer_that_does_not_read(net: Net, version: int) -> None:
    """Request all routes again and again from red's CE, and read nothing: its output queue is
    bounded, its table is sent once a second at most, and blue is served meanwhile."""
    many = {4: "10.{}.{}.0/24", 6: "2001:db8:{:x}:{:x}::/64"}[version]
    with from_core(bgp.VPNV4 if version == 4 else bgp.VPNV6) as core:
        routes = [many.format(60 + n // 100, n % 100) for n in range(300)]
        for prefix in routes:
            core.send(core_route(prefix))
        assert until(lambda: has(net, "red", routes[-1]), SECONDS)
        with to_pe("red", version) as slow, to_pe("blue") as quick:
            slow.connection.settimeout(60.0)
            growth = Growth(net)
            for turn in range(200):
                slow.send(bgp.refresh(1 if version == 4 else 2, 1) * 50)
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
            assert slow.closed, "it has read all that was sent, so it receives the end"
