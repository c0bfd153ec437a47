"""Which devices can be CE ports, what becomes of others, and one family's failure of a port."""

from __future__ import annotations

import asyncio
import errno
import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any, cast

import pytest

from controlplane.model.desired import CePort, Delta, Desired, Node, VrfDevice
from pe.devices import ops
from pe.devices.manager import DeviceManager
from pe.devices.plan import plan
from pe.devices.port_states import port_state
from pe.devices.settings import device_settings
from pe.filters.manager import FilterManager
from pe.model.guards import NONE
from pe.model.port_kinds import refusal
from pe.model.state import Failures, Link, Structure
from pe.netlink import codec as nl
from pe.netlink import rtnl
from pe.netlink.ownership import BLACKHOLE, VRF_ALIAS
from pe.view.ports import port_problems
from tests.pe_fakes import FakeFilters, FakeStructure, FakeStructureKernel

NONE_TYPE, IPGRE, TUNNEL, CAN = 0xFFFE, 778, 768, 280
V4, V6 = ip_interface("192.0.2.1/30"), ip_interface("2001:db8::1/64")


def message(kind: str, hardware_type: int, *data: bytes) -> memoryview:
    """A link message as the kernel sends it."""
    info = nl.attribute(1, kind.encode() + b"\0") + nl.attribute(2, b"".join(data))
    body = struct.pack("=BBHiII", 0, 0, hardware_type, 7, 0x1, 0)
    return memoryview(body + nl.attribute(3, b"ce\0") + nl.attribute(18, info))


@pytest.mark.parametrize(
    ("kind", "hardware_type", "data", "without"),
    [
        ("gre", IPGRE, nl.attribute(7, bytes((198, 51, 100, 2))), False),
        ("gre", IPGRE, nl.attribute(7, bytes(4)), True),
        ("gre", IPGRE, b"", True),
        ("ip6gre", 823, nl.attribute(7, bytes(15) + b"\1"), False),
        ("ip6gre", 823, nl.attribute(7, bytes(16)), True),
        ("ipip", TUNNEL, nl.attribute(3, bytes((198, 51, 100, 2))), False),
        ("ipip", TUNNEL, nl.attribute(3, bytes(4)), True),
        ("bareudp", NONE_TYPE, b"", True),
        ("wireguard", NONE_TYPE, b"", False),
        ("tun", NONE_TYPE, b"", False),
        ("veth", 1, b"", False),
    ],
)
def test_a_link_message_has_the_type_and_the_remote_end(
    kind: str, hardware_type: int, data: bytes, without: bool
) -> None:
    raw = rtnl.RawLink(message(kind, hardware_type, data))
    assert (raw.kind, raw.hardware_type, raw.has_no_remote) == (kind, hardware_type, without)


@pytest.mark.parametrize(
    ("kind", "hardware_type", "bare"),
    [("tun", NONE_TYPE, True), ("tun", 1, False), ("wireguard", NONE_TYPE, True), ("", 1, False),
     ("gre", IPGRE, True), ("gretap", 1, False), ("ipip", TUNNEL, True), ("ppp", 512, True)],
)  # fmt: skip
def test_devices_of_ethernet_and_of_bare_ip_can_be_ports(
    kind: str, hardware_type: int, bare: bool
) -> None:
    link = Link(7, "ce", kind, hardware_type=hardware_type)
    assert refusal(link) == ""
    assert link.is_bare == bare
    assert link.is_tunnel == (kind in {"gre", "gretap", "ipip", "wireguard"})
    assert bool(refusal(link, carries_tags=True)) == bare


REFUSED = {
    "xfrm ce cannot be guarded": Link(7, "ce", "xfrm", hardware_type=NONE_TYPE),
    "vti ce cannot be guarded": Link(7, "ce", "vti", hardware_type=TUNNEL),
    "gre ce has no remote address": Link(
        7, "ce", "gre", hardware_type=IPGRE, has_no_remote=True
    ),
    "vcan ce cannot be guarded: its ARPHRD type 280": Link(7, "ce", "vcan", hardware_type=CAN),
}  # fmt: skip


def desired(*addresses: Any, **more: Any) -> Desired:
    port = CePort("ce", "red", 1, addresses or (V4, V6), None, **more)
    node = Node("pe1", (ip_address("10.255.0.1"),), 24000)
    return Desired(node=node, vrfs={"red": VrfDevice("red", 16000)}, ce_ports={"ce": port})


RED = Link(1, "red", kind="vrf", up=True, alias=VRF_ALIAS, table=16000)


@pytest.mark.parametrize(("words", "link"), REFUSED.items(), ids=REFUSED)
def test_a_device_that_cannot_be_guarded_is_refused_by_name(words: str, link: Link) -> None:
    assert refusal(link).startswith(words)
    world = World(desired(), replace(link, up=True, carrier=True))
    world.settle()
    assert not world.links["ce"].up, "it was up in the core's table"
    assert world.links["ce"].master == ""
    reason = world.failures.reason("port", "ce")
    assert reason.startswith(words)
    assert world.logged == [("port_refused", {"kind": "port", "name": "ce", "reason": reason})]
    state = port_state("ce", world.desired, world.manager.seen, lambda _: True)
    assert (state.present, state.up, state.guarded) == (True, False, False)
    assert port_problems(world.failures.all()) == {"ce": reason}
    # Made again as a device that can be one, it opens.
    world.world.state.put_link(Link(8, "ce", "veth"))
    world.settle()
    assert (world.links["ce"].up, world.links["ce"].master) == (True, "red")
    assert world.failures.all() == ()


def test_a_vlan_port_on_a_device_without_ethernet_headers_is_refused() -> None:
    seen = Structure(links={
        "red": RED, "trunk": Link(2, "trunk", "tun", up=True, hardware_type=NONE_TYPE),
    })  # fmt: skip
    steps = plan(desired(parent="trunk", vlan=5), seen)
    refused = [step.op for step in steps if isinstance(step.op, ops.RefusePort)]
    words = "tun trunk has no Ethernet header, so it carries no VLAN tags"
    assert refused == [ops.RefusePort("ce", words)]
    assert not [step for step in steps if isinstance(step.op, ops.CreateVlan)]


class World:
    """A device manager on a kernel of fakes; ``refuses`` raises what that kernel refuses."""

    def __init__(self, desired: Desired, *links: Link) -> None:
        self.desired, self.failures = desired, Failures()
        self.logged: list[tuple[str, dict[str, str | int]]] = []
        every = {link.name: link for link in (RED, *links)}
        self.world = FakeStructure(Structure(links=every))
        self.kernel = FakeStructureKernel(self.world)
        self.refuses: Callable[[ops.Op], None] = lambda _: None
        self._perform, self.kernel.perform = self.kernel.perform, self._checked  # type: ignore[method-assign]
        self.manager = DeviceManager(
            desired, self.kernel, cast(FilterManager, FakeFilters()), self.failures, self._log,
            disabled=NONE, spare_ports=frozenset(), neighbours=16,
        )  # fmt: skip
        self.manager.changing(Delta(node=desired.node, ce_ports=dict(desired.ce_ports)))
        self._now = 0.0

    @property
    def links(self) -> dict[str, Link]:
        return self.world.state.links

    def _log(self, _level: str, event: str, fields: dict[str, str | int]) -> None:
        self.logged.append((event, fields))

    async def _checked(self, op: ops.Op) -> None:
        self.refuses(op)
        await self._perform(op)

    def settle(self) -> None:
        """Some iterations, each later than every retry."""
        asyncio.run(self._settle())

    async def _settle(self) -> None:
        for _ in range(5):
            self._now += 20
            self.manager.resync()
            await self.manager.up(self._now, sweep=True)


@pytest.mark.parametrize(("refused", "other"), [(V6, V4), (V4, V6)], ids=["ipv6", "ipv4"])
def test_an_address_family_that_is_refused_leaves_the_other_working(
    refused: Any, other: Any
) -> None:
    """All steps of a port once failed together, so the port stayed down for both."""
    world = World(desired(), Link(7, "ce", "veth"))

    def refuse(op: ops.Op) -> None:
        if isinstance(op, ops.AddAddress) and op.interface == refused:
            raise OSError(errno.EACCES, "Permission denied")

    world.refuses = refuse
    world.settle()
    assert (world.links["ce"].up, world.links["ce"].master) == (True, "red")
    state = port_state("ce", world.desired, world.manager.seen, lambda _: True)
    assert (state.up, state.guarded, state.addresses) == (True, True, (str(other),))
    family = f"ipv{refused.version}"
    refusals = [fields for event, fields in world.logged if event == "kernel_refused"]
    assert refusals == [{"kind": "address", "name": f"ce {family}", "reason": "Permission denied"}]
    words = f"IPv{refused.version} address refused: Permission denied"
    assert port_problems(world.failures.all()) == {"ce": words}
    world.refuses = lambda _: None
    world.settle()
    assert world.failures.all() == ()
    assert {a.interface for a in world.manager.seen.addresses["ce"]} == {V4, V6}


def test_ipv6_is_switched_on_where_a_device_needs_it_and_nowhere_else() -> None:
    """With ``default.disable_ipv6=1`` new devices have it off."""

    def switched(name: str, of: Desired) -> list[str]:
        rows = device_settings(name, of, NONE)
        return [row.value for row in rows if row.path == f"ipv6/conf/{name}/disable_ipv6"]

    both, ipv4 = desired(), desired(V4)
    assert switched("ce", both) == ["0"]
    assert switched("red", both) == switched(BLACKHOLE, both) == ["0"]
    assert switched("ce", ipv4) == switched("eth9", both) == switched(BLACKHOLE, Desired()) == []
    paths = [row.path for row in device_settings("ce", both, NONE)]
    assert paths.index("ipv6/conf/ce/disable_ipv6") < paths.index("ipv6/conf/ce/accept_dad")
