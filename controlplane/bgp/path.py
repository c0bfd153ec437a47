"""A path and where it came from.

A path holds no prefix: the hundreds of prefixes of one UPDATE share one object, which is most of
what keeps a large table small.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TypeAlias

import msgspec

from controlplane.model.attributes import Attributes
from controlplane.model.desired import NextHopKey
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteDistinguisher


class RouteProtocol(enum.IntEnum):
    """Where a path came from; a lower value is preferred before any BGP rule is asked.

    ``PLACED`` is a workload whose prefix the operator has a static route to; other workloads are
    as if learned by BGP.
    """

    CONNECTED = 0
    PLACED = 1
    STATIC = 2
    BGP = 3


class Source(msgspec.Struct, frozen=True):
    """``vrf`` is the VRF that a local or CE path was learned in, "" for a path from the core.

    ``via`` distinguishes sources that have no peer: the link of a local route, or the VRF that a
    leaked route comes from.
    """

    protocol: RouteProtocol
    vrf: str = ""
    peer: PeerId | None = None
    ebgp: bool = False
    router_id: int = 0
    via: str = ""

    @property
    def is_local(self) -> bool:
        """True where this PE attaches the site: such a path is exported to the core."""
        return self.vrf != ""

    @property
    def is_workload(self) -> bool:
        """True for a workload that is attached to this PE."""
        if self.protocol is RouteProtocol.BGP:
            return self.vrf != "" and self.peer is None
        return self.protocol is RouteProtocol.PLACED


class Path(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One way to the prefixes that point here. Compared by identity: cheap, and shared widely.

    ``rd`` is None for paths learned in the VRF itself. ``accepted`` is the time on the monotonic
    clock, in seconds.
    """

    source: Source
    attributes: Attributes
    hop: NextHopKey
    rd: RouteDistinguisher | None = None
    accepted: float = 0.0

    @property
    def is_connected(self) -> bool:
        """True for a link's own prefix, which the kernel installs itself."""
        return self.source.protocol is RouteProtocol.CONNECTED

    @property
    def slot(self) -> tuple[Source, RouteDistinguisher | None]:
        """What a later path replaces: the one of the same source under the same RD."""
        return (self.source, self.rd)

    def replaces(self, other: Path) -> bool:
        """Return True where both have the same slot."""
        return (self.source is other.source or self.source == other.source) and (
            self.rd is other.rd or self.rd == other.rd
        )

    def says_the_same_as(self, other: Path) -> bool:
        """Return True where only the time differs: received again, it changes nothing."""
        return (
            (self.hop is other.hop or self.hop == other.hop)
            and (self.attributes is other.attributes or self.attributes == other.attributes)
            and self.replaces(other)
        )


def router_id_of(path: Path) -> int:
    """Return the router id for the tie-break: ORIGINATOR_ID stands in for it (RFC 4456 section
    9)."""
    originator = path.attributes.originator_id
    return _number(originator) if originator else path.source.router_id


@lru_cache(maxsize=4096)
def _number(router_id: str) -> int:
    return int(IPv4Address(router_id))


BestPathChange: TypeAlias = tuple[Prefix, Path | None, Path | None]
"""A prefix of a VRF, its old best path, its new one."""
