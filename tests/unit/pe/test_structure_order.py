"""The order of steps that the kernel asks for."""

from __future__ import annotations

from controlplane.model.desired import CePort, Desired, VrfDevice
from pe.devices.ops import Phase, SetUp
from pe.devices.plan import plan
from pe.model.state import Link, Structure
from pe.netlink.ownership import PORT_ALIAS, VRF_ALIAS


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
