"""UPDATE messages on their way in: routes kept packed, attributes parsed once and reused.

Errors are handled as RFC 7606 has it, the strongest answer first: the session is reset where the
routes cannot be told, they are withdrawn where their attributes cannot be, and an attribute that
decides nothing is left out. Each malformed message is told to the node, whole (section 6).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import pack
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.attribute_validation import (
    ValidatedAttributes,
    missing,
    unfit_path,
    validate_attributes,
)
from controlplane.speaker.worker.packed_nlri import VPN_SAFI, PackedNlri, check
from controlplane.speaker.worker.surface import EOR, Action, Attribute, Attributes, Notify, Update

MP_REACH, MP_UNREACH = 14, 15
MP_FLAGS = 0x80
CODE = Attribute.CODE
CACHE_SIZE = 4096
HEADER = b"\xff" * 16
HEADER_LEN, UPDATE = 19, 2

RESET, WITHDRAW, DISCARD = "session reset", "treat-as-withdraw", "attribute discard"

report: Callable[[wire.Malformed], None] = lambda _: None  # noqa: E731 - replaced by ``install``


def decode(data: bytes, direction: Any, negotiated: Any) -> Any:
    """An UPDATE's body -> Update or EOR; stands in for ``Update.unpack_message``.

    Notify where the session has to end.
    """
    try:
        return judged(data, direction, negotiated)
    except Notify as end:
        told(data, negotiated, RESET, str(end))
        raise


def judged(data: bytes, direction: Any, negotiated: Any) -> Any:
    """The message, with what it announces turned into withdrawals if it is malformed."""
    parts = separate(data)
    if parts.marker:
        return EOR.unpack_message(EOR.NLRI.PREFIX + parts.marker, direction, negotiated)
    parsed = parse(parts.rest, direction, negotiated)
    update = Update(list(packed_routes(parts, parsed.attributes, negotiated)), parsed.attributes)
    fault = parts.fault or parsed.sieved.fault or parsed.fault
    if not parts.announced and not parts.reach:
        if fault:
            # RFC 7606 section 5.2: whatever it was about may be in what could not be read.
            raise Notify(3, 1, f"no routes, and {fault}")
        return update
    fault = fault or missing(parsed.sieved, negotiated, native=bool(parts.announced))
    if fault:
        told(data, negotiated, WITHDRAW, fault, update.nlris)
        return withdrawn(update)
    if parsed.sieved.discarded:
        told(data, negotiated, DISCARD, ", ".join(parsed.sieved.discarded), update.nlris)
    return update


class Parts:
    """An UPDATE taken apart: native routes, MP attributes, and all other attributes.

    ``fault`` is what is wrong with the framing of the attributes.
    """

    __slots__ = ("announced", "fault", "reach", "rest", "unreach", "withdrawn")

    def __init__(self, withdrawn: bytes, announced: bytes) -> None:
        self.withdrawn, self.announced, self.rest = withdrawn, announced, b""
        self.reach: bytes | None = None
        self.unreach: bytes | None = None
        self.fault = ""

    @property
    def marker(self) -> bytes:
        """The family's three octets if this is an End-of-RIB, else nothing."""
        if self.withdrawn or self.announced or self.rest or self.fault or self.reach is not None:
            return b""
        if self.unreach is None:
            return b"\0\1\1"
        return self.unreach if len(self.unreach) == 3 else b""


def separate(data: bytes) -> Parts:
    """Take an UPDATE's body apart; Notify if its fields or MP attributes cannot be told apart."""
    size = len(data)
    attributes = 2 + int.from_bytes(data[:2])
    start = attributes + 2
    end = start + int.from_bytes(data[attributes:start])
    if size < start or end > size:
        raise Notify(3, 1, "the lengths of the fields exceed the message")
    parts = Parts(data[2:attributes], data[end:])
    rest, position = [], start
    while position < end:
        flags, code = data[position], data[position + 1] if position + 1 < end else 0
        head = position + (4 if flags & 0x10 else 3)
        after = head + int.from_bytes(data[position + 2 : head])
        if head > end or after > end:
            overrun(parts, code)
            break
        if code != MP_REACH and code != MP_UNREACH:
            rest.append(data[position:after])
        else:
            store(parts, flags, code, data[head:after])
        position = after
    parts.rest = b"".join(rest)
    return parts


def overrun(parts: Parts, code: int) -> None:
    """An attribute that ends behind the attributes (RFC 7606 section 4); with the routes in it,
    Notify 3/9 (section 3 j)."""
    if code in (MP_REACH, MP_UNREACH):
        raise Notify(3, 9, "the routes run past the attributes")
    parts.fault = f"attribute {code} runs past the attributes (RFC 7606 section 4)"


def store(parts: Parts, flags: int, code: int, value: bytes) -> None:
    """Keep an MP attribute; Notify if its flags are wrong or it came twice (RFC 7606 3 g, 5.3)."""
    if flags & 0xC0 != MP_FLAGS:
        raise Notify(3, 9, f"flags 0x{flags:02x} of attribute {code}")
    name = "reach" if code == MP_REACH else "unreach"
    if getattr(parts, name) is not None:
        raise Notify(3, 1, f"attribute {code} came twice")
    setattr(parts, name, value)


def packed_routes(parts: Parts, attributes: Any, negotiated: Any) -> Iterator[PackedNlri]:
    """The routes, withdrawals first; Notify 3/9 or 3/10 if they are malformed."""
    if parts.withdrawn:
        check(1, 1, parts.withdrawn)
        yield PackedNlri(1, 1, Action.WITHDRAW, parts.withdrawn, "")
    if parts.unreach is not None:
        yield from unreachable(parts.unreach, negotiated)
    if parts.reach is not None:
        yield reachable(parts.reach, negotiated)
    if parts.announced:
        check(1, 1, parts.announced)
        hop = str(attributes.get(CODE.NEXT_HOP, ""))
        yield PackedNlri(1, 1, Action.ANNOUNCE, parts.announced, hop)


def reachable(data: bytes, negotiated: Any) -> PackedNlri:
    """MP_REACH_NLRI (RFC 4760 section 3)."""
    if len(data) < 5:
        raise Notify(3, 9, "MP_REACH_NLRI is too short")
    afi, safi, size = int.from_bytes(data[:2]), data[2], data[3]
    if (afi, safi) not in negotiated.families:
        raise Notify(3, 9, f"presented a non-negotiated family {afi}/{safi}")
    hop, nlri = data[4 : 4 + size], data[5 + size :]
    if not nlri:
        raise Notify(3, 9, "MP_REACH_NLRI without routes")
    check(afi, safi, nlri)
    return PackedNlri(afi, safi, Action.ANNOUNCE, nlri, next_hop(hop, safi))


def unreachable(data: bytes, negotiated: Any) -> list[PackedNlri]:
    """MP_UNREACH_NLRI (RFC 4760 section 4)."""
    if len(data) < 3:
        raise Notify(3, 9, "MP_UNREACH_NLRI is too short")
    afi, safi, nlri = int.from_bytes(data[:2]), data[2], data[3:]
    if (afi, safi) not in negotiated.families:
        raise Notify(3, 9, f"presented a non-negotiated family {afi}/{safi}")
    check(afi, safi, nlri)
    return [PackedNlri(afi, safi, Action.WITHDRAW, nlri, "")] if nlri else []


def next_hop(data: bytes, safi: int) -> str:
    """The global next hop; a link-local one behind it (RFC 2545 section 3) is not needed."""
    rd = 8 if safi == VPN_SAFI else 0
    if len(data) not in (rd + 4, rd + 16, 2 * (rd + 16)):
        raise Notify(3, 9, f"next hop of {len(data)} octets")
    if any(data[:rd]):
        raise Notify(3, 9, "the next hop's route distinguisher is not zero")
    address = data[rd : rd + 16]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


@dataclass(frozen=True, slots=True)
class Parsed:
    """ExaBGP's attribute objects; ``fault`` is what only a parser finds."""

    attributes: Any
    sieved: ValidatedAttributes
    fault: str


def parse(rest: bytes, direction: Any, negotiated: Any) -> Parsed:
    """The attributes of these octets and what is wrong with them, from this session's cache.

    The cache is the session's: what the octets mean depends on what it negotiated (RFC 6793).
    """
    cache: dict[bytes, Parsed] = negotiated.__dict__.setdefault("bulkhead_attributes", {})
    known = cache.get(rest)
    if known is None:
        sieved = validate_attributes(rest, negotiated)
        attributes = Attributes().parse(sieved.octets, direction, negotiated)
        fault = unfit_path(attributes)
        if not fault:
            attributes.reconcile_four_octet_as()
        if len(cache) >= CACHE_SIZE:
            cache.clear()
        known = cache[rest] = Parsed(attributes, sieved, fault)
    return known


def withdrawn(message: Any) -> Any:
    """Treat-as-withdraw: what the message announces is withdrawn."""
    for nlri in message.nlris:
        nlri.action = Action.WITHDRAW
    return message


def told(
    data: bytes, negotiated: Any, handling: str, reason: str, routes: list[PackedNlri] | None = None
) -> None:
    """Tell the node of a malformed message (RFC 7606 section 6)."""
    message = HEADER + pack("!HB", HEADER_LEN + len(data), UPDATE) + data
    found = [((int(b.afi), int(b.safi)), b.data) for b in routes or ()]
    peer = str(negotiated.neighbor["peer-address"])
    report(wire.Malformed(peer, handling, reason, message, found))


def is_packed(nlri: object) -> bool:
    """True for packed routes, False for ExaBGP's own NLRI objects."""
    return isinstance(nlri, PackedNlri)


def install(tell: Callable[[wire.Malformed], None]) -> None:
    """Put these in the place of ExaBGP's; ``tell`` is told of malformed messages."""
    global report  # noqa: PLW0603 - as with all that takes the place of ExaBGP's own
    report = tell
    surface.replace(Update, "unpack_message", staticmethod(decode))
