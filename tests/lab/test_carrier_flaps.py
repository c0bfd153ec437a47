"""Carrier flaps within milliseconds: the kernel ends with every route that is desired.

A device that goes down takes its next hops, their groups and the groups' routes with it, and the
kernel sends no notification of any of them (nexthop_flush_dev).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from controlplane.model.events import UnderlayRouteChanged
from controlplane.model.prefix import Prefix
from tests.lab.agents import RouterProcess, ce_name, founding_world, inside, until
from tests.lab.red_pe import red_node, red_pe
from tests.unit.controlplane.rig import static

CE = ce_name("pe1", "red")
STATIC = "10.1.0.0/16"
ROUNDS = 25


@contextmanager
def static_pe() -> Iterator[RouterProcess]:
    """PE 1 with VRF red: the site's prefix is a static route by the CE."""
    route = static(STATIC, "192.168.1.2", "pe1-red")
    with founding_world(), red_pe(red_node(static_routes=(route,))) as pe:
        yield pe


def flap(times: int) -> None:
    """Take the carrier of the CE's port and give it back, as fast as the kernel lets us."""
    lines = "link set up0 down\nlink set up0 up\n" * times
    subprocess.run(["ip", "-n", CE, "-batch", "-"], input=lines, text=True, check=True, timeout=30)


class Sentinel:
    """A route of the main table, told after all that the kernel did before it."""

    def __init__(self, pe: RouterProcess) -> None:
        self._pe, self._number = pe, 0

    def wait(self) -> None:
        """Return once the router has followed every event up to now, and the kernel follows."""
        self._number += 1
        prefix = Prefix(ip_address(f"198.51.100.{self._number}").packed, 32)
        inside("pe1", f"ip route add {prefix} via 10.0.1.2")
        assert until(lambda: self._is_reported(prefix)), "no event of the sentinel"
        self._pe.call("settled")

    def _is_reported(self, prefix: Prefix) -> bool:
        events = [event for _, event in self._pe.call("events")]
        return any(isinstance(e, UnderlayRouteChanged) and e.prefix == prefix for e in events)


def installed() -> bool:
    return STATIC in inside("pe1", "ip route show table 1001 proto 198")


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_static_route_by_a_ce_outlives_every_burst_of_flaps(times: int) -> None:
    with static_pe() as pe:
        assert until(installed)
        sentinel, lost = Sentinel(pe), []
        for number in range(ROUNDS):
            flap(times)
            sentinel.wait()
            if not until(installed, 1.0):
                lost.append(number)
                break
        assert lost == [], inside("pe1", "ip nexthop") + inside("pe1", "ip link show pe1-red")
        assert pe.call("failures") == ()


def test_without_carrier_the_route_is_gone() -> None:
    """The positive control: the test's own look at the kernel sees a route that is not there."""
    with static_pe() as pe:
        assert until(installed)
        inside(CE, "ip link set up0 down")
        Sentinel(pe).wait()
        assert until(lambda: not installed(), 1.0)
