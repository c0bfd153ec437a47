"""Everybody who is attached to pe1 or pe2, and every address that either of them has."""

from __future__ import annotations

import json
from dataclasses import dataclass

from labs.attack import link, plan
from labs.attack.inside import run_in
from labs.attack.net import circuit
from labs.attack.port import Port
from labs.topologies.attack import HOME


@dataclass(frozen=True)
class Attacker:
    """A sender on a CE port: where the frames go out, to whom, under which tags, from where."""

    name: str
    port: Port
    pe: Port
    sources: tuple[str, str]
    gateways: tuple[str, str]
    tags: tuple[int, ...] = ()

    def frame(self, packet: bytes) -> bytes:
        """A packet as it goes to the PE."""
        return link.ethernet(self.pe.mac, self.port.mac, link.ethertype(packet), packet, self.tags)


def attackers() -> list[Attacker]:
    """All of them."""
    found = []
    for vpn in ("red", "blue"):
        for site in HOME:
            at = circuit(vpn, site)
            found.append(Attacker(at.ce.node, at.ce, at.pe, _ends(site), _gateways(site)))
    trunk, trunk_pe = Port("trunk", "eth0"), Port("pe1", "trunk0")
    for vid, site in ((10, 4), (20, 5)):
        name = f"vlan-{vid}"
        found.append(Attacker(name, trunk, trunk_pe, _ends(site), _gateways(site), (vid,)))
    lan, lan_pe = Port("lan-a", "eth0"), Port("pe1", "br-red")
    found.append(Attacker("lan", lan, lan_pe, ("192.168.6.2", "2001:db8:f6::2"), _gateways(6)))
    internet, internet_pe = Port("internet", "eth0"), Port("pe1", "inet")
    ends = ("203.0.113.2", "2001:db8:f9::2")
    found.append(Attacker("internet", internet, internet_pe, ends,
                          ("203.0.113.1", "2001:db8:f9::1")))  # fmt: skip
    return found


def _ends(site: int) -> tuple[str, str]:
    return plan.ce(site, 4), plan.ce(site, 6)


def _gateways(site: int) -> tuple[str, str]:
    return plan.gateway(site, 4), plan.gateway(site, 6)


def addresses(node: str) -> dict[str, str]:
    """Every address of a node's devices -> the device, as its kernel has them."""
    listed = json.loads(run_in(node, "ip", "-j", "addr", "show"))
    return {
        info["local"]: device["ifname"] for device in listed for info in device.get("addr_info", [])
    }
