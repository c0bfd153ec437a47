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


class Mover(threading.Thread):
    """Attaches and detaches red workloads over the API as fast as it goes."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self._net, self._over = net, threading.Event()
        self.done = 0

    def run(self) -> None:
        segment = self._net.pe1.segment
        while not self._over.is_set():
            names = [f"red-{n}" for n in range(20)]
            for n, name in enumerate(names):
                segment.attach(name, "red", "ce-red-1", [f"10.1.200.{n + 1}/32"], {"tier": name})
            for name in names:
                segment.detach(name)
            self.done += 2 * len(names)

    def stop(self) -> None:
        """And wait until it has."""
        self._over.set()
        self.join(60.0)


def test_dos_05_one_tenants_changes(net: Net) -> None:
    """Red's workloads come and go as fast as its tenant can say so: one of blue's is in the kernel
    within the bound all the while, and in the end nothing of red's is left."""
    mover, waits = Mover(net), []
    mover.start()
    try:
        for n in range(8):
            address, started = f"10.1.210.{n + 1}/32", time.monotonic()
            net.pe1.segment.attach(f"blue-{n}", "blue", "ce-blue-1", [address])
            route = address.removesuffix("/32")
            assert until(lambda r=route: in_kernel(r), SECONDS), log_tail(net)  # type: ignore[misc]
            waits.append(time.monotonic() - started)
            net.pe1.segment.detach(f"blue-{n}")
    finally:
        mover.stop()
    assert mover.done, "control: red's changes are taken"
    assert max(waits) < BLUE_SECONDS, waits
    assert until(lambda: not in_kernel("10.1.200.1"), SECONDS)


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
