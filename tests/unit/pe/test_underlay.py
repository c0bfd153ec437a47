"""The main table as the control plane should see it."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

from controlplane.model.events import UnderlayPath, UnderlayRouteChanged
from controlplane.model.prefix import Afi, Prefix, parse_prefix
from pe.fib.main_table import MainTableMonitor
from pe.fib.next_hop_wire import Group, Member
from pe.model.state import Link
from pe.netlink import codec as nl
from pe.netlink.main_routes import MainRoute, RawPath, parse

REMOTE = parse_prefix("10.255.0.2/32")
GATEWAY = ip_address("10.0.1.2")
LINKS = {
    1: Link(1, "core0", up=True, carrier=True),
    2: Link(2, "core1", up=True, carrier=True),
    3: Link(3, "dead", up=True, carrier=False),
}


def message(
    *, label: int = 17, metric: int = 0, oif: int = 1, kind: int = nl.RTM_NEWROUTE, flags: int = 0,
    protocol: int = 16, table: int = 254,
) -> nl.Message:  # fmt: skip
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, table, protocol, 0, 1, 0)
    body += nl.attribute(1, REMOTE.packed) + nl.u32(4, oif) + nl.attribute(5, GATEWAY.packed)
    body += nl.u32(6, metric) + nl.nested(22, nl.attribute(1, struct.pack("!I", label << 12 | 256)))
    body += nl.attribute(21, struct.pack("=H", 1))
    return nl.Message(kind, flags, 1, 1, memoryview(body))


def told(label: int = 17, metric: int = 0, device: str = "core0") -> UnderlayRouteChanged:
    return UnderlayRouteChanged(REMOTE, (UnderlayPath(GATEWAY, device, (label,)),), metric)


def gone(prefix: Prefix = REMOTE) -> UnderlayRouteChanged:
    return UnderlayRouteChanged(prefix, ())


def underlay(*messages: nl.Message) -> MainTableMonitor:
    found = MainTableMonitor()
    found.load([])
    for each in messages:
        found.route_event(each)
    return found


def test_the_best_metric_is_reported_once_and_the_next_best_when_it_goes() -> None:
    seen = underlay(message(label=18, metric=20), message(label=17, metric=10))
    assert seen.changes(LINKS) == [told(17, 10)]
    assert seen.changes(LINKS) == []
    seen.route_event(message(label=17, metric=10, kind=nl.RTM_DELROUTE))
    assert seen.changes(LINKS) == [told(18, 20)]
    seen.route_event(message(label=18, metric=20, kind=nl.RTM_DELROUTE))
    assert seen.changes(LINKS) == [gone()]
    assert not seen.stale


def test_a_replaced_route_is_reported_with_its_new_labels() -> None:
    seen = underlay(message(label=17))
    seen.changes(LINKS)
    seen.route_event(message(label=99, flags=nl.NLM_F_REPLACE))
    assert seen.changes(LINKS) == [told(99)]


def test_what_an_event_leaves_open_is_read_again() -> None:
    seen = underlay(message(label=17), message(label=18, flags=nl.NLM_F_APPEND))
    assert seen.stale
    other = underlay(message(label=17), message(label=18, kind=nl.RTM_DELROUTE))
    assert other.stale


def test_a_device_without_carrier_carries_nothing() -> None:
    seen = underlay(message(oif=3, metric=1), message(oif=2, metric=2, label=5))
    assert seen.changes(LINKS) == [told(5, 2, "core1")]
    down = {**LINKS, 2: Link(2, "core1", up=False)}
    seen.link_changed(2, gone=False)
    assert seen.changes(down) == [gone()]


def test_our_own_routes_and_other_tables_are_no_underlay() -> None:
    assert parse(message(protocol=198).body) is None
    assert parse(message(table=100).body) is None


def test_next_hop_objects_are_resolved_and_followed() -> None:
    seen = MainTableMonitor()
    seen.object_changed(7, Member(Afi.IPV4, 1, GATEWAY, (17,)))
    seen.object_changed(8, Member(Afi.IPV4, 2, GATEWAY, (18,)))
    seen.object_changed(9, Group(((7, 1), (8, 3))))
    seen.load([MainRoute(REMOTE, 0, 0, (), next_hop=9)])
    both = (UnderlayPath(GATEWAY, "core0", (17,)), UnderlayPath(GATEWAY, "core1", (18,), 3))
    assert seen.changes(LINKS) == [UnderlayRouteChanged(REMOTE, both)]
    seen.object_changed(7, Member(Afi.IPV4, 1, GATEWAY, (99,)))
    (change,) = seen.changes(LINKS)
    assert change.paths[0].labels == (99,)
    seen.object_changed(9, None)
    assert seen.stale  # its routes went with it, without a word


def test_an_encapsulation_that_is_not_mpls_is_of_no_use() -> None:
    seen = MainTableMonitor()
    seen.load([MainRoute(REMOTE, 0, 0, (RawPath(1, GATEWAY, None),))])
    assert seen.changes(LINKS) == []
