"""A real node whose parts raise, under traffic: journal, resync, systemd, and its end.

The node is ``pe run`` with faults put into its code (``faulty_pe``), two VRFs with the same
addresses, and a notification socket as systemd opens it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from labs.lab import running
from labs.waiting import until
from tests.lab.two_vrf_node import LAB, LATER, TOUCHED, VRFS, WATCHDOG, Bench

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(LAB) as lab, closing((made := Bench(lab)).systemd):
        made.start()
        yield made


@pytest.fixture
def traffic(bench: Bench) -> Iterator[None]:
    """Packets in both VRFs while a test runs; none of them may be lost."""
    for vrf in VRFS:
        assert until(lambda vrf=vrf: TOUCHED in bench.routes(vrf), 30.0)  # type: ignore[misc]
        bench.lab.run(f"{vrf}-a", "ping", "-n", "-c1", "-w10", "10.9.0.1")  # neighbours are known
    pings = [bench.ping(vrf) for vrf in VRFS]
    time.sleep(1.0)
    yield
    for ping in pings:
        ping.send_signal(2)
        said = ping.communicate(timeout=10)[0]
        assert " 0% packet loss" in said, said


def test_ready_comes_when_the_ports_are_open(bench: Bench) -> None:
    assert any("STATUS=In sync: 2 VRFs" in each or "READY=1" in each
               for each in bench.systemd.found)  # fmt: skip
    assert bench.health() == bench.health("router") == bench.health("dataplane") == "SERVING"
    assert until(bench.in_sync, 10.0)


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("call", ["DataplaneReconciler._iterate", "EventSocket.read"])
def test_a_data_plane_that_raises_resyncs_and_goes_on(bench: Bench, call: str) -> None:
    before = bench.log().count("event=part_failed")
    bench.systemd.forget()
    bench.arm(call)
    # Another hand takes a route away: the notification of it goes with the fault.
    bench.lab.run("pe1", "ip", "route", "del", "vrf", "blue", TOUCHED)
    assert until(lambda: bench.log().count("event=part_failed") > before, 10.0)
    line = [each for each in bench.log().splitlines() if "event=part_failed" in each][-1]
    assert "part=dataplane" in line
    assert f"injected into {call}" in line
    assert until(lambda: TOUCHED in bench.routes("blue"), 10.0)
    assert until(bench.in_sync, 10.0)
    assert bench.health() == "SERVING"
    # The part works: it takes a change over.
    bench.reload(later=True)
    assert until(lambda: LATER in bench.routes("red"), 10.0)
    bench.reload()
    assert until(lambda: LATER not in bench.routes("red"), 10.0)
    assert until(lambda: bench.systemd.has("RELOADING=1", 2), 5.0)
    assert until(lambda: bench.systemd.has("WATCHDOG=1", 2), 2 * WATCHDOG)


@pytest.mark.usefixtures("traffic")
def test_while_it_fails_health_says_so_and_the_watchdog_starves(bench: Bench) -> None:
    bench.arm("DataplaneReconciler._iterate", times=0)
    try:
        assert until(lambda: bench.health("dataplane") == "NOT_SERVING", 10.0)
        assert bench.health() == "NOT_SERVING"
        assert bench.health("router") == "SERVING"
        assert not bench.in_sync()
        assert until(lambda: bench.systemd.has("STATUS=Not working: dataplane"), 5.0)
        bench.systemd.forget()
        time.sleep(WATCHDOG / 2)
        assert not bench.systemd.has("WATCHDOG=1")
    finally:
        bench.disarm()
    assert until(lambda: bench.health() == "SERVING", 15.0)
    assert until(bench.in_sync, 10.0)
    assert until(lambda: bench.systemd.has("WATCHDOG=1"), 2 * WATCHDOG)


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(
    ("call", "part"), [("DataplaneReconciler._iterate", "dataplane"), ("Router.handle", "router")]
)
def test_a_part_that_fails_for_good_ends_the_node(bench: Bench, call: str, part: str) -> None:
    """The kernel goes on meanwhile, and the next start finds nothing to complain of."""
    bench.arm(call, times=0)
    try:
        assert until(lambda: bench.lab.pid("pe1", "pe") is None, 90.0), bench.log()[-3000:]
    finally:
        bench.disarm()
    tail = bench.log()[-4000:]
    assert f"event=node_failed part={part}" in tail
    assert f"{part} failed for good: KeyError" in tail, "what pe run says at its end"
    bench.start()
    assert until(lambda: bench.health() == "SERVING", 30.0)


def test_a_stop_is_announced(bench: Bench) -> None:
    bench.systemd.forget()
    before = bench.log().count("event=node_failed")
    bench.lab.stop("pe1", "pe")
    assert bench.systemd.has("STOPPING=1")
    assert bench.log().count("event=node_failed") == before
