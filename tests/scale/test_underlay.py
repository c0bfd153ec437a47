"""The underlay: an event costs what depends on it, with 20 and with 2,000 routes and PEs."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.vpn.next_hop_resolver import Core, NextHopResolver
from pe.fib.main_table import MainTableMonitor
from pe.model.state import Link
from pe.netlink.main_routes import MainRoute, RawPath
from tests.scale.work import assert_flat, by_function

GATEWAY = ip_address("192.0.2.1")
LINKS = {n: Link(n, f"core{n}", up=True, carrier=True) for n in range(1, 5001)}


def prefix(n: int) -> Prefix:
    return Prefix((0x0A000000 + (n << 8)).to_bytes(4, "big"), 24)


def monitor(routes: int) -> MainTableMonitor:
    """Ten routes by each device."""
    found = MainTableMonitor()
    found.load(
        MainRoute(prefix(n), 0, 0, (RawPath(n // 10 + 1, GATEWAY, ()),)) for n in range(routes)
    )
    found.changes(LINKS)
    return found


def link_event(routes: int) -> Counter[str]:
    there = monitor(routes)
    own = [MainRoute(prefix(n), 0, 0, (RawPath(1, GATEWAY, ()),)) for n in range(5)]

    def do() -> None:
        there.link_changed(1, gone=False)
        assert there.unverified == {1}
        there.load_device(1, own)  # five of its ten are left
        assert len(there.changes(LINKS)) == 5
        assert not there.stale

    return by_function(do)


def test_a_link_event_looks_at_the_routes_of_that_device() -> None:
    assert_flat(link_event(20), link_event(2000))


def igp_event(watched: int) -> Counter[str]:
    resolver = NextHopResolver(Core({"core0": frozenset()}))
    for n in range(watched):
        resolver.watch(ip_address(0x0A000001 + (n << 8)))
    path = UnderlayPath(GATEWAY, "core0", (100,))

    def do() -> None:
        turns = resolver.change(prefix(7), (path,), 10)
        assert [*turns] == [ip_address("10.0.7.1")]
        assert not resolver.change(parse_prefix("172.16.0.0/12"), (path,), 10)

    return by_function(do)


def test_an_igp_prefix_looks_at_the_next_hops_inside_it() -> None:
    assert_flat(igp_event(10), igp_event(2000))
