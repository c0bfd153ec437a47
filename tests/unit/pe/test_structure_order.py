"""The order of steps that the kernel asks for."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from controlplane.model.desired import CePort, CorePort, Desired, Node, VrfDevice
from pe.devices.ops import DropAddress, Phase, SetDown, SetUp, WriteSetting
from pe.devices.plan import plan
from pe.model.state import Link, PortAddress, Structure
from pe.netlink.ownership import PORT_ALIAS, VRF_ALIAS

ALL_FORWARDING = "ipv6/conf/all/forwarding"


def test_the_trunk_comes_up_before_its_vlan_port() -> None:
    """The other way round the kernel refuses the VLAN port, and what failed ends the rest."""
    desired = Desired(
        vrfs={"red": VrfDevice("red", 16000)},
        ce_ports={"v10": CePort("v10", "red", 1, (), None, parent="trunk", vlan=10)},
    )
    links = (
        Link(1, "red", kind="vrf", up=True, alias=VRF_ALIAS, table=16000),
        Link(2, "trunk"),
        Link(3, "v10", kind="vlan", master="red", parent="trunk", alias=PORT_ALIAS, vlan=10),
    )
    steps = plan(desired, Structure(links={link.name: link for link in links}))
    opened = [s.op.name for s in steps if isinstance(s.op, SetUp) and s.phase is Phase.PERMIT]
    assert opened == ["trunk", "v10"]


def test_forwarding_is_switched_on_behind_everything_that_guards() -> None:
    """At boot ports are up and in no VRF yet: what came in there left unlabelled by the core."""
    desired = Desired(
        node=Node("pe1", (ip_address("10.255.0.1"),), 24000),
        vrfs={"red": VrfDevice("red", 16000)},
        ce_ports={"ce": CePort("ce", "red", 1, (), None)},
        core_ports={"core0": CorePort("core0")},
    )
    links = (Link(1, "ce", up=True), Link(2, "core0", up=True))
    steps = plan(desired, Structure(links={link.name: link for link in links}))
    on = {
        step.op.setting.path: step.phase
        for step in steps
        if (isinstance(step.op, WriteSetting) and step.op.setting.path.endswith("forward"))
        or (isinstance(step.op, WriteSetting) and step.op.setting.path == ALL_FORWARDING)
    }
    assert on == {"ipv4/ip_forward": Phase.PERMIT, ALL_FORWARDING: Phase.PERMIT}
    down = next(s.phase for s in steps if isinstance(s.op, SetDown) and s.op.name == "ce")
    assert down < Phase.FILTER < Phase.PERMIT
    others = [s for s in steps if isinstance(s.op, WriteSetting) and s.phase is Phase.DENY]
    assert others, "settings that close are written first"


def test_a_port_that_waited_for_its_guard_loses_its_address_with_its_configuration() -> None:
    """It got its address, and was neither in its VRF nor up when it left the configuration."""
    ours = PortAddress("waiting", ip_interface("192.0.2.1/30"), ours=True)
    theirs = PortAddress("waiting", ip_interface("198.51.100.1/30"), ours=False)
    links = (Link(1, "waiting"), Link(2, "foreign"), Link(3, "up", up=True))
    seen = Structure(
        links={link.name: link for link in links},
        addresses={
            "waiting": frozenset({ours, theirs}), "foreign": frozenset({theirs}),
            "up": frozenset({ours}),
        },
    )  # fmt: skip
    dropped = [s.op for s in plan(Desired(), seen) if isinstance(s.op, DropAddress)]
    assert dropped == [DropAddress("waiting", ours.interface)]
