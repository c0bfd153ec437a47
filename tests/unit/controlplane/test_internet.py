"""A VRF that is part of the Internet: only what is unique there comes in or goes out."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controlplane.model.martians import is_unique
from controlplane.model.peer import PeerId
from tests.unit.controlplane.rig import (
    V4,
    Rig,
    ce_peer,
    prefix,
    static,
    targets,
    vrf,
    with_vrf,
)

CE = PeerId("net", ip_address("192.0.2.2"))


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/8", "172.20.0.0/16", "192.168.7.0/24", "100.64.3.0/24", "198.51.100.1/32",
     "127.0.0.0/8", "fd00::/8", "2001:db8:1::/48", "fe80::/64", "::1/128"],
)  # fmt: skip
def test_not_unique(text: str) -> None:
    assert not is_unique(prefix(text))


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "23.1.0.0/24", "172.32.0.0/16", "100.128.0.0/9", "2a00:1::/32"]
)
def test_unique(text: str) -> None:
    assert is_unique(prefix(text))


def rig(*, internet: bool = True) -> Rig:
    """A VRF with a neighbour, beside one whose sites it imports."""
    ce = ce_peer("net", "192.0.2.2", internet=internet)
    statics = static("10.9.0.0/24"), static("23.9.0.0/24")
    imports = targets("65000:1", "65000:2")
    net = vrf("net", 2, import_targets=imports, internet=internet, neighbors=(ce,),
              static_routes=statics)  # fmt: skip
    return Rig(vrf("red", 1, static_routes=(static("10.1.0.0/24"), static("23.1.0.0/24"))), net)


def test_of_other_vpns_here_and_elsewhere() -> None:
    world = rig().ready()
    world.vpn("10.2.0.0/24", "23.2.0.0/24")
    routes = world.table("net")
    assert {"23.1.0.0/24", "23.2.0.0/24"} <= set(routes)
    assert {"10.1.0.0/24", "10.2.0.0/24"}.isdisjoint(routes)
    assert "10.2.0.0/24" in world.table("red")


def test_with_its_neighbours() -> None:
    world = rig().ready()
    world.up(CE, V4)
    world.ce(CE, "10.3.0.0/24", "23.3.0.0/24")
    assert "23.3.0.0/24" in world.table("net")
    assert "10.3.0.0/24" not in world.table("net")
    received = world.received_by(CE)
    assert "23.9.0.0/24" in received
    assert not {"10.9.0.0/24", "10.1.0.0/24"} & received


def test_a_change_of_mind_needs_no_session() -> None:
    world = rig(internet=False).ready()
    world.vpn("10.2.0.0/24")
    assert {"10.1.0.0/24", "10.2.0.0/24"} <= set(world.table("net"))
    before = world.router.intent
    assert before is not None
    world.reload(with_vrf(before, "net", internet=True))
    assert {"10.1.0.0/24", "10.2.0.0/24"}.isdisjoint(world.table("net"))
    world.reload(before)
    assert {"10.1.0.0/24", "10.2.0.0/24"} <= set(world.table("net"))
