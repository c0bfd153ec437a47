"""Find the link of a VRF that an address is on, for neighbours and next hops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.model.intent import IPInterface
from controlplane.model.prefix import IPAddress
from pe.config.schema import VrfSection


@dataclass(frozen=True, slots=True)
class Link:
    """Describe one address of one CE port."""

    port: str
    interface: IPInterface

    def reaches(self, address: IPAddress) -> bool:
        """Return True if the address is in the link's subnet and is not the link's own."""
        if address.version != self.interface.version or address == self.interface.ip:
            return False
        return address in self.interface.network

    def __str__(self) -> str:
        return f"{self.port}: {self.interface.network}"


def links(vrf: VrfSection) -> Iterator[Link]:
    """Yield every link of a VRF, in the order of the file."""
    for name, port in vrf.ports.items():
        for interface in port.addresses:
            yield Link(name, interface)


def link_to(vrf: VrfSection, address: IPAddress, port: str | None = None) -> Link | None:
    """Return the link that an address is on (the longest prefix of several), None if on none."""
    found = [link for link in links(vrf) if link.reaches(address) and port in (None, link.port)]
    return max(found, key=lambda link: link.interface.network.prefixlen, default=None)


def is_edge_of_subnet(link: Link, address: IPAddress) -> bool:
    """Return True for the IPv4 network and broadcast addresses of a link that has them."""
    network = link.interface.network
    if network.version != 4 or network.prefixlen >= 31:
        return False
    return address in (network.network_address, network.broadcast_address)
