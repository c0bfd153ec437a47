"""Define the self-test's network: two VPNs with the same addresses, a port into the core.

::

    r1 ---.                       red, a CE that may speak BGP
    r2 === trunk, VLAN 10 --- PE  red, a site behind a VLAN port, static
    b1 ---'          |    `- new  an unconfigured port
    blue, static    core

Names begin with a digit, which those of a configuration cannot. Addresses are those reserved for
benchmarks (RFC 2544, RFC 5180), which no network routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from controlplane.model.intent import CePortIntent, PeerIntent, StaticRouteIntent, VrfIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, afi_of, parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.scratch import RemoteSite, SelftestLayout

RED, BLUE = "0self-red", "0self-blue"
R1, R2, B1, CORE, NEW = "0self-r1", "0self-v10", "0self-b1", "0self-core", "0self-new"
TRUNK = "0self-trunk"
PREFIX = "0self-"
VID = 10
TAPS = (R1, B1, TRUNK, CORE, NEW)
CE_PORTS = (R1, R2, B1)
P = "fe80::5e1f"
"""The far end of the core port; link-local, so that the core's table learns nothing."""
FAR_LABELS = (1048574, 1048575)


@dataclass(frozen=True, slots=True)
class Station:
    """Who is at the far end of a port: ``own`` addresses are answered for. ``tap`` is where its
    frames go in and out, under ``tags``."""

    port: str
    tap: str
    own: tuple[str, ...] = ()
    vid: int = 0
    number: int = 0

    @property
    def mac(self) -> bytes:
        """Return a locally administered MAC, one per station."""
        return bytes((0x02, 0x5E, 0x1F, 0, 0, self.number))


def gateway(site: int, version: int) -> str:
    """Return the PE's address on a site's link."""
    return f"2001:2:0:{site}::1" if version == 6 else f"198.18.{site}.1"


def ce(site: int, version: int) -> str:
    """Return the CE's address on its link."""
    return f"2001:2:0:{site}::2" if version == 6 else f"198.18.{site}.2"


def host(site: int, version: int, number: int = 1) -> str:
    """Return a host behind a CE. Site 3 is blue's alone, site 9 is red's behind the core."""
    return f"2001:2:0:1{site}::{number:x}" if version == 6 else f"198.18.1{site}.{number}"


def _prefix(site: int, version: int) -> str:
    return f"2001:2:0:1{site}::/64" if version == 6 else f"198.18.1{site}.0/24"


STATIONS = {
    R1: Station(R1, R1, (ce(1, 4), ce(1, 6)), number=1),
    R2: Station(R2, TRUNK, (ce(2, 4), ce(2, 6)), VID, 2),
    B1: Station(B1, B1, (ce(1, 4), ce(1, 6)), number=3),
    CORE: Station(CORE, CORE, (P,), number=4),
    NEW: Station(NEW, NEW, number=5),
}
VERSIONS = (4, 6)


def _port(name: str, vrf: str, site: int, parent: str = "") -> CePortIntent:
    addresses = (f"{gateway(site, 4)}/30", f"{gateway(site, 6)}/64")
    return CePortIntent(
        name=name, vrf=vrf, parent=parent, vlan=VID if parent else 0,
        addresses=tuple(map(ip_interface, addresses)),
        sources=tuple(parse_prefix(_prefix(site, version)) for version in VERSIONS),
    )  # fmt: skip


def _routes(port: str, site: int, *prefixes: int) -> tuple[StaticRouteIntent, ...]:
    return tuple(
        StaticRouteIntent(
            prefix=parse_prefix(_prefix(at, version)), via=ip_address(ce(site, version)), port=port
        )
        for at in prefixes
        for version in VERSIONS
    )


def _neighbour(version: int, asn: int) -> PeerIntent:
    address, local = ip_address(ce(1, version)), ip_address(gateway(1, version))
    return PeerIntent(
        peer=PeerId(RED, address), asn=asn + 1, local_as=asn, local_address=local,
        families=(Family.of(afi_of(address), vpn=False),), port=R1, ttl_security=1,
    )  # fmt: skip


def scratch(asn: int) -> SelftestLayout:
    """Return the VRFs and ports to request; no route target leads in or out."""
    red = VrfIntent(
        name=RED, rd=parse_rd("0:1"), import_targets=frozenset(), export_targets=frozenset(),
        ports=(_port(R1, RED, 1), _port(R2, RED, 2, TRUNK)),
        static_routes=_routes(R1, 1, 1) + _routes(R2, 2, 2),
        neighbors=tuple(_neighbour(version, asn) for version in VERSIONS),
    )  # fmt: skip
    blue = VrfIntent(
        name=BLUE, rd=parse_rd("0:2"), import_targets=frozenset(), export_targets=frozenset(),
        ports=(_port(B1, BLUE, 1),), static_routes=_routes(B1, 1, 1, 2, 3),
    )  # fmt: skip
    far = tuple(
        RemoteSite(RED, parse_prefix(_prefix(9, version)), ip_address(P), FAR_LABELS)
        for version in VERSIONS
    )
    return SelftestLayout((red, blue), CORE, far)


@dataclass(frozen=True, slots=True)
class SelftestBedSettings:
    """Hold what the trials need of the node: labels of the scratch VRFs, an unallocated label, the
    node's own core addresses and those of its core peers, every label in use."""

    red: int
    blue: int
    unused: int
    loopbacks: tuple[str, ...]
    peers: tuple[str, ...]
    in_use: tuple[int, ...]
