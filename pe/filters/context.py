"""What the guards are rendered from, besides the desired state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

from controlplane.model.desired import CePort, Desired, VrfDevice
from controlplane.model.intent import IPInterface
from controlplane.model.prefix import IPAddress, Prefix
from pe.model.guards import NONE, Guard
from pe.model.mark_code import ANY_BOOT, MarkCode

IPNetwork = IPv4Network | IPv6Network

WITHOUT_BROADCAST, WITHOUT_ANYCAST = 31, 127
"""From this length on each address of a link is a host's (RFC 3021, RFC 6164)."""

PORTS_AT_MOST = 8192
"""How many ports' chains are remembered: a change of one port renders no other's anew."""


@dataclass(frozen=True, slots=True)
class RenderContext:
    """``present``: devices that exist (nft refuses to guard others). ``spare_ports``: ports that
    the node leaves to the host, such as a management port. ``neighbours``: how many on-link
    hosts of a CE port may be resolved within a minute, per family. ``core_seen``: addresses that
    core ports have, by any program. ``tracked``: VRFs whose connections a policy needs;
    ``judged``: those of them that only judged packets may cross; ``code``: how verdicts are known.
    ``bare``: devices whose packets have no Ethernet header (``Link.is_bare``); ``tunnels``: those
    that are tunnels over IP (``Link.is_tunnel``).
    """

    desired: Desired
    present: Collection[str]
    disabled: frozenset[Guard] = NONE
    spare_ports: frozenset[str] = frozenset()
    neighbours: int = 256
    core_seen: frozenset[IPAddress] = frozenset()
    tracked: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    code: MarkCode = ANY_BOOT
    bare: frozenset[str] = frozenset()
    tunnels: frozenset[str] = frozenset()

    def on(self, guard: Guard) -> bool:
        """True unless a test switched the guard off."""
        return guard not in self.disabled

    @property
    def ce_ports(self) -> list[CePort]:
        """CE ports, present or not, in a stable order."""
        return sorted(self.desired.ce_ports.values(), key=lambda port: port.name)

    def is_tunnel(self, port: CePort) -> bool:
        """True if what leaves by a CE port leaves the node in packets of its own."""
        return not self.tunnels.isdisjoint({port.name, port.parent})

    @property
    def vrfs(self) -> list[VrfDevice]:
        """VRFs in a stable order."""
        return sorted(self.desired.vrfs.values(), key=lambda vrf: vrf.name)

    def is_tracked(self, vrf: str) -> bool:
        """True where connections are counted or judged; others do not pay for tracking."""
        device = self.desired.vrfs.get(vrf)
        if device is None:
            return False
        return vrf in self.tracked or bool(device.conntrack_limit or device.new_flows_per_second)

    def is_judged(self, vrf: str) -> bool:
        """True where a policy must have spoken before a packet passes."""
        return vrf in self.judged and self.on(Guard.VERDICT)

    def core_addresses(self, version: int) -> frozenset[IPAddress]:
        """The node's own addresses in the core, which no packet from outside may have as source."""
        node = self.desired.node
        own: list[IPAddress] = [*(node.loopbacks if node else ()), *self.core_seen]
        for port in self.desired.core_ports.values():
            own += [interface.ip for interface in port.addresses]
        return frozenset(address for address in own if address.version == version)

    def vrf_addresses(self, version: int) -> dict[str, set[IPAddress]]:
        """What ends at the node in each VRF: its own addresses, and those of the links that it
        answers to as well: broadcast, and the anycast address of routers (CPP-7)."""
        found: dict[str, set[IPAddress]] = {vrf: set() for vrf in self.desired.vrfs}
        for port in self.desired.ce_ports.values():
            own = {i.ip for i in port.addresses if i.version == version}
            many = set(to_many(port.addresses)) if version == 4 else anycast(port.addresses)
            found.get(port.vrf, set()).update(own, many)
        return found


def to_many(interfaces: tuple[IPInterface, ...]) -> tuple[IPv4Address, ...]:
    """The broadcast addresses of links: the last one, and the first (RFC 1122 section 3.3.6)."""
    links = (n for n in networks(interfaces, 4) if n.prefixlen < WITHOUT_BROADCAST)
    return tuple(
        address
        for link in links
        for address in (link.network_address, link.broadcast_address)
        if isinstance(address, IPv4Address)
    )


def anycast(interfaces: tuple[IPInterface, ...]) -> set[IPAddress]:
    """The subnet-router anycast addresses of links (RFC 4291 section 2.6.1)."""
    links = (n for n in networks(interfaces, 6) if n.prefixlen < WITHOUT_ANYCAST)
    return {link.network_address for link in links}


def networks(interfaces: tuple[IPInterface, ...], version: int) -> list[IPNetwork]:
    """The links that these addresses are on."""
    return [interface.network for interface in interfaces if interface.version == version]


def sources(port: CePort, version: int) -> frozenset[IPNetwork]:
    """Where packets of a port may come from: its site's prefixes and the link itself. Merged,
    because a set of ranges takes no two that overlap."""
    found = networks(port.addresses, version)
    found += [network for p in port.sources or () if (network := _network(p)).version == version]
    return merged(found)


def merged(found: list[IPNetwork]) -> frozenset[IPNetwork]:
    """As few ranges as say the same."""
    v4 = [n for n in found if isinstance(n, IPv4Network)]
    v6 = [n for n in found if isinstance(n, IPv6Network)]
    return frozenset([*collapse_addresses(v4), *collapse_addresses(v6)])


def _network(prefix: Prefix) -> IPNetwork:
    size = len(prefix.packed)
    address = IPv4Address(prefix.packed) if size == 4 else IPv6Address(prefix.packed)
    return ip_network((address, prefix.length))
