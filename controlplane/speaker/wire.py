"""The messages between the node and an ExaBGP worker: one JSON object a line, each way.

Reachability travels as the packed NLRI of RFC 4271 section 4.3, RFC 8277 and RFC 4364, base64 in
the JSON. That is a quarter of the size of spelled-out routes, costs the worker nothing and loses
nothing: as text, a route distinguisher of type 2 with a small ASN looks like one of type 0.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["warning", "error"]


class PathAttributes(msgspec.Struct, omit_defaults=True):
    """The path attributes that Bulkhead reads and writes, in either direction.

    ``as_path`` holds segments as (type of RFC 4271 section 4.3 or RFC 5065, ASNs); ``extended``
    the eight octets of each extended community as a number; ``aggregator`` is ASN:ADDRESS;
    ``unknown`` are optional transitive attributes that nothing here reads, as (flags, code, value).
    """

    origin: int = 0
    as_path: tuple[tuple[int, tuple[int, ...]], ...] = ()
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: str | None = None
    communities: tuple[tuple[int, int], ...] = ()
    extended: tuple[int, ...] = ()
    large: tuple[tuple[int, int, int], ...] = ()
    originator_id: str | None = None
    cluster_list: tuple[str, ...] = ()
    unknown: tuple[tuple[int, int, bytes], ...] = ()


class Update(msgspec.Struct, tag_field="t", tag="update"):
    """One UPDATE. ``announce`` holds (family, next hop, packed NLRI), ``withdraw`` without hop."""

    peer: str
    attributes: msgspec.Raw = msgspec.Raw(b"{}")
    announce: list[tuple[str, str, bytes]] = []
    withdraw: list[tuple[str, bytes]] = []


class EndOfRibReport(msgspec.Struct, tag_field="t", tag="eor"):
    """The peer's End-of-RIB marker for a family (RFC 4724 section 2)."""

    peer: str
    family: str


class RefreshReport(msgspec.Struct, tag_field="t", tag="refresh"):
    """A ROUTE-REFRESH of the peer (RFC 2918)."""

    peer: str
    family: str


class Up(msgspec.Struct, tag_field="t", tag="up"):
    """A session reached Established. ``session`` numbers it; commands must quote the number."""

    peer: str
    session: int
    families: list[str]
    router_id: str
    hold_time: int
    restart_time: int = 0
    restart_families: list[str] = []
    forwarding: list[str] = []
    route_refresh: bool = False
    ipv6_next_hops: list[str] = []


class Down(msgspec.Struct, tag_field="t", tag="down"):
    """A connection ended, established or not.

    ``cause`` is ``lost`` (the transport alone), ``sent`` or ``received`` (a NOTIFICATION, whose
    code and subcode follow), or ``ended`` (by the worker, without one). ``text`` is for people.
    """

    peer: str
    cause: Literal["lost", "sent", "received", "ended"]
    code: int = 0
    subcode: int = 0
    text: str = ""


class ConnectFailed(msgspec.Struct, tag_field="t", tag="trouble"):
    """A connection attempt failed; reported once for each new reason."""

    peer: str
    reason: str


class CommandRefused(msgspec.Struct, tag_field="t", tag="refused"):
    """A command that could not be carried out."""

    peer: str
    reason: str


class Malformed(msgspec.Struct, tag_field="t", tag="malformed"):
    """A malformed UPDATE, whole, and what was done about it (RFC 7606 section 6).

    ``routes`` are those that it named, as (AFI and SAFI, packed NLRI); none where they could not
    be read.
    """

    peer: str
    handling: str
    reason: str
    message: bytes
    routes: list[tuple[tuple[int, int], bytes]] = []
    missed: int = 0
    """So many of this peer's before it were not reported, because there were too many."""


class TooLarge(msgspec.Struct, tag_field="t", tag="too-large"):
    """Routes whose attributes, of so many octets, fit no UPDATE of this session: withdrawn instead.

    ``nlri`` are packed as for a withdrawal; ``family`` is AFI and SAFI.
    """

    peer: str
    session: int
    family: tuple[int, int]
    octets: int
    nlri: bytes


class CapabilityIgnored(msgspec.Struct, tag_field="t", tag="capability"):
    """A malformed capability of a peer's OPEN, which was taken as one that is not there."""

    peer: str
    code: int
    reason: str


class LogLine(msgspec.Struct, tag_field="t", tag="log"):
    """A line of ExaBGP's own log, warning and above."""

    level: Level
    text: str
    missed: int = 0
    """So many before it were not reported, because there were too many."""


class Unusable(msgspec.Struct, tag_field="t", tag="unusable"):
    """The worker cannot run with the ExaBGP that is installed, and ends; ``reason`` says why."""

    reason: str


class Unconfined(msgspec.Struct, tag_field="t", tag="unconfined"):
    """The worker runs without a filter of system calls; ``reason`` says why."""

    reason: str


class Alive(msgspec.Struct, tag_field="t", tag="alive"):
    """The answer to ``Ask``."""


Report = (
    Update
    | EndOfRibReport
    | RefreshReport
    | Up
    | Down
    | ConnectFailed
    | CommandRefused
    | Malformed
    | TooLarge
    | CapabilityIgnored
    | LogLine
    | Unusable
    | Unconfined
    | Alive
)


class SendRoutes(msgspec.Struct, tag_field="t", tag="announce"):
    """Announce the packed ``nlri`` (AFI, SAFI in ``family``) in the session of that number."""

    peer: str
    session: int
    family: tuple[int, int]
    next_hop: bytes
    attributes: msgspec.Raw
    nlri: bytes


class SendWithdraw(msgspec.Struct, tag_field="t", tag="withdraw"):
    """Withdraw the packed ``nlri``."""

    peer: str
    session: int
    family: tuple[int, int]
    nlri: bytes


class SendMarker(msgspec.Struct, tag_field="t", tag="eor"):
    """Send End-of-RIB after everything that was announced before."""

    peer: str
    session: int
    family: tuple[int, int]


class SendRefresh(msgspec.Struct, tag_field="t", tag="refresh"):
    """Send ROUTE-REFRESH."""

    peer: str
    session: int
    family: tuple[int, int]


class Teardown(msgspec.Struct, tag_field="t", tag="teardown"):
    """End the session with Cease and this subcode; it comes back by itself."""

    peer: str
    session: int
    subcode: int


class Configure(msgspec.Struct, tag_field="t", tag="configure"):
    """Have exactly these sessions: ExaBGP's configuration text, and the MD5 keys apart from it.

    The first line that a worker gets, and the whole of it each time: nothing is shared that one
    side could change while the other reads it.
    """

    text: str
    md5: dict[str, str] = {}
    sessions: int = 0
    """How many: a worker's limits follow from those of its first configuration."""


class Ask(msgspec.Struct, tag_field="t", tag="ask"):
    """Report ``Alive``, once everything before is carried out."""


Command = SendRoutes | SendWithdraw | SendMarker | SendRefresh | Teardown | Configure | Ask
