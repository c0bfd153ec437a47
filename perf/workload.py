"""What is sent in the routing bench: how many routes, in which VRFs, with which attributes."""

from __future__ import annotations

from dataclasses import dataclass

ASN = 65000
FIRST_LABEL = 1000
FIRST_CUSTOMER_AS = 64512
FIRST_PREFIX = 20 << 24
PREFIX_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Workload:
    """``routes`` VPNv4 routes, divided evenly among ``vrfs``, ``per_update`` in one UPDATE.

    Every VRF has the same /24 prefixes, from 20.0.0.0 on, under a route distinguisher, a
    route target and a VPN label of its own: what one remote PE with a label per VRF sends.
    """

    routes: int = 100_000
    vrfs: int = 10
    per_update: int = 50

    def __post_init__(self) -> None:
        if self.routes % self.vrfs or self.routes // self.vrfs > 1 << 20:
            raise ValueError("routes must divide evenly among VRFs, at most 1,048,576 to each")
        if not 1 <= self.per_update <= 200:
            raise ValueError("1 to 200 routes fit into one UPDATE")

    @property
    def per_vrf(self) -> int:
        """Routes of one VRF."""
        return self.routes // self.vrfs

    def prefix(self, index: int) -> str:
        """The prefix number ``index`` of every VRF, without its length (24)."""
        address = FIRST_PREFIX + (index << 8)
        return ".".join(str(byte) for byte in address.to_bytes(4, "big"))


def vrf_name(vrf: int) -> str:
    """The name of VRF number ``vrf``, which is its device's name as well."""
    return f"vpn{vrf}"


def table(vrf: int) -> int:
    """The kernel table of VRF number ``vrf``."""
    return 1001 + vrf


def vpn_label(vrf: int) -> int:
    """The label under which the sender takes packets for VRF number ``vrf``."""
    return FIRST_LABEL + vrf


def ce_port(vrf: int) -> str:
    """The port of VRF number ``vrf`` towards its site."""
    return f"ce{vrf}"


def ce_gateway(vrf: int) -> str:
    """The receiver's address on that port, with its length."""
    return f"10.1.{vrf}.1/30"


def ce_host(vrf: int) -> str:
    """The site's address on that port."""
    return f"10.1.{vrf}.2"
