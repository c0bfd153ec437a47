"""A path and where it came from.

A path holds no prefix: the hundreds of prefixes of one UPDATE share one object, which is most of
what keeps a large table small.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address

import msgspec

from controlplane.model.attributes import Attributes
from controlplane.model.desired import NextHopKey
from controlplane.model.peer import PeerId
from controlplane.model.rd import RouteDistinguisher


class Protocol(enum.IntEnum):
    """Where a path came from; a lower value is preferred before any BGP rule is asked."""

    CONNECTED = 0
    STATIC = 1
    BGP = 2


class Source(msgspec.Struct, frozen=True):
    """``vrf`` is the VRF that a local or CE path was learned in, "" for a path from the core."""

    protocol: Protocol
    vrf: str = ""
    peer: PeerId | None = None
    ebgp: bool = False
    router_id: int = 0

    @property
    def is_local(self) -> bool:
        """True where this PE attaches the site: such a path is exported to the core."""
        return self.vrf != ""


class Path(msgspec.Struct, frozen=True, eq=False):
    """One way to the prefixes that point here. Compared by identity: a new UPDATE is a new path.

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
        return self.source.protocol is Protocol.CONNECTED

    @property
    def slot(self) -> tuple[Source, RouteDistinguisher | None]:
        """What a later path replaces: the one of the same source under the same RD."""
        return (self.source, self.rd)


def router_id_of(path: Path) -> int:
    """The router id for the tie-break: ORIGINATOR_ID stands in for it (RFC 4456 section 9)."""
    originator = path.attributes.originator_id
    return int(IPv4Address(originator)) if originator else path.source.router_id
