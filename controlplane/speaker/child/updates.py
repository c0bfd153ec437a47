"""UPDATE messages on their way in: MP attributes kept packed, the others parsed once and reused.

A message that is irregular in any way goes to ExaBGP's own parser, whose error handling
(RFC 7606) then applies. What that parser leaves out is done here: a missing mandatory attribute
(RFC 7606 section 3 d) and confederation segments (RFC 5065 section 5) are treated as a withdrawal.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from exabgp.bgp.message.action import Action
from exabgp.bgp.message.notification import Notify
from exabgp.bgp.message.update import EOR, Update
from exabgp.bgp.message.update.attribute import Attribute, Attributes
from exabgp.bgp.message.update.attribute.mprnlri import MPRNLRI
from exabgp.bgp.message.update.attribute.mpurnlri import MPURNLRI

from controlplane.speaker.child.blocks import VPN_SAFI, Block, check

MP_REACH, MP_UNREACH = 14, 15
MP_FLAGS = 0x80
CODE = Attribute.CODE
CACHE_SIZE = 4096


class BlockReach(MPRNLRI):  # type: ignore[misc]
    """MP_REACH_NLRI (RFC 4760 section 3) with its routes left packed."""

    @classmethod
    def unpack(cls, data: bytes, direction: object, negotiated: Any) -> BlockReach:  # noqa: ARG003
        """Read the attribute; Notify 3/9 or 3/10 if it is malformed."""
        if len(data) < 5:
            raise Notify(3, 9, "MP_REACH_NLRI is too short")
        afi, safi, size = int.from_bytes(data[:2]), data[2], data[3]
        if (afi, safi) not in negotiated.families:
            raise Notify(3, 9, f"presented a non-negotiated family {afi}/{safi}")
        hop, nlri = data[4 : 4 + size], data[5 + size :]
        if not nlri:
            raise Notify(3, 9, "MP_REACH_NLRI without routes")
        check(afi, safi, nlri)
        return cls(afi, safi, [Block(afi, safi, Action.ANNOUNCE, nlri, next_hop(hop, safi))])


class BlockUnreach(MPURNLRI):  # type: ignore[misc]
    """MP_UNREACH_NLRI (RFC 4760 section 4) with its routes left packed."""

    @classmethod
    def unpack(cls, data: bytes, direction: object, negotiated: Any) -> BlockUnreach:  # noqa: ARG003
        """Read the attribute; Notify 3/9 or 3/10 if it is malformed."""
        if len(data) < 3:
            raise Notify(3, 9, "MP_UNREACH_NLRI is too short")
        afi, safi, nlri = int.from_bytes(data[:2]), data[2], data[3:]
        if (afi, safi) not in negotiated.families:
            raise Notify(3, 9, f"presented a non-negotiated family {afi}/{safi}")
        check(afi, safi, nlri)
        blocks = [Block(afi, safi, Action.WITHDRAW, nlri, "")] if nlri else []
        return cls(afi, safi, blocks)


def next_hop(data: bytes, safi: int) -> str:
    """The global next hop; a link-local one behind it (RFC 2545 section 3) is not needed."""
    rd = 8 if safi == VPN_SAFI else 0
    if len(data) not in (rd + 4, rd + 16, 2 * (rd + 16)):
        raise Notify(3, 9, f"next hop of {len(data)} octets")
    if any(data[:rd]):
        raise Notify(3, 9, "the next hop's route distinguisher is not zero")
    address = data[rd : rd + 16]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def decode(data: bytes, direction: Any, negotiated: Any) -> Any:
    """An UPDATE's body -> Update or EOR; stands in for ``Update.unpack_message``."""
    parts = separate(data)
    attributes = parsed(parts.rest, direction, negotiated) if parts else None
    if parts is None or attributes is None or not usable(parts, attributes, negotiated):
        return settled(stock_decode(data, direction, negotiated), negotiated)
    if parts.marker:
        return EOR.unpack_message(EOR.NLRI.PREFIX + parts.marker, direction, negotiated)
    return Update(list(blocks(parts, attributes, direction, negotiated)), attributes)


stock_decode = Update.unpack_message


class Parts:
    """An UPDATE taken apart: native routes, MP attributes, and all other attributes."""

    __slots__ = ("announced", "reach", "rest", "unreach", "withdrawn")

    def __init__(self, withdrawn: bytes, announced: bytes) -> None:
        self.withdrawn, self.announced, self.rest = withdrawn, announced, b""
        self.reach: bytes | None = None
        self.unreach: bytes | None = None

    @property
    def marker(self) -> bytes:
        """The family's three octets if this is an End-of-RIB, else nothing."""
        if self.withdrawn or self.announced or self.rest or self.reach is not None:
            return b""
        if self.unreach is None:
            return b"\0\1\1"
        return self.unreach if len(self.unreach) == 3 else b""


def separate(data: bytes) -> Parts | None:
    """Take an UPDATE's body apart; None if its framing is not of the regular form."""
    size = len(data)
    attributes = 2 + int.from_bytes(data[:2])
    start = attributes + 2
    end = start + int.from_bytes(data[attributes:start])
    if size < start or end > size:
        return None
    parts = Parts(data[2:attributes], data[end:])
    rest, position = [], start
    while position < end:
        flags, code = data[position], data[position + 1] if position + 1 < end else 0
        head = position + (4 if flags & 0x10 else 3)
        if head > end:
            return None
        after = head + int.from_bytes(data[position + 2 : head])
        if after > end:
            return None
        if code != MP_REACH and code != MP_UNREACH:
            rest.append(data[position:after])
        elif flags & 0xE0 != MP_FLAGS or not store(parts, code, data[head:after]):
            return None
        position = after
    parts.rest = b"".join(rest)
    return parts


def store(parts: Parts, code: int, value: bytes) -> bool:
    """Keep an MP attribute; False if it came twice."""
    name = "reach" if code == MP_REACH else "unreach"
    if getattr(parts, name) is not None:
        return False
    setattr(parts, name, value)
    return True


def usable(parts: Parts, attributes: Any, negotiated: Any) -> bool:
    """True if what this message announces, if anything, has all that a route needs."""
    if parts.announced and CODE.NEXT_HOP not in attributes:
        return False
    return not (parts.announced or parts.reach) or not missing(attributes, negotiated)


def blocks(parts: Parts, attributes: Any, direction: Any, negotiated: Any) -> Iterator[Block]:
    """The routes, withdrawals first."""
    if parts.withdrawn:
        check(1, 1, parts.withdrawn)
        yield Block(1, 1, Action.WITHDRAW, parts.withdrawn, "")
    if parts.unreach is not None:
        yield from BlockUnreach.unpack(parts.unreach, direction, negotiated).nlris
    if parts.reach is not None:
        yield from BlockReach.unpack(parts.reach, direction, negotiated).nlris
    if parts.announced:
        check(1, 1, parts.announced)
        yield Block(1, 1, Action.ANNOUNCE, parts.announced, str(attributes[CODE.NEXT_HOP]))


def parsed(rest: bytes, direction: Any, negotiated: Any) -> Any:
    """The attributes of these octets, from this session's cache; None if they are in error.

    The cache is the session's: what the octets mean depends on what it negotiated (RFC 6793).
    """
    cache = negotiated.__dict__.setdefault("bulkhead_attributes", {})
    attributes = cache.get(rest)
    if attributes is None:
        attributes = Attributes().parse(rest, direction, negotiated)
        if irregular(attributes):
            return None
        attributes.reconcile_four_octet_as()
        if len(cache) >= CACHE_SIZE:
            cache.clear()
        cache[rest] = attributes
    return attributes


def irregular(attributes: Any) -> bool:
    """True if the parser found something to be treated as a withdrawal, or to be discarded."""
    return CODE.INTERNAL_TREAT_AS_WITHDRAW in attributes or CODE.INTERNAL_DISCARD in attributes


def missing(attributes: Any, negotiated: Any) -> str:
    """What keeps routes with these attributes from being used; empty if nothing does."""
    # The answer is kept with the attributes: they are this session's own.
    known: str | None = attributes.__dict__.get("bulkhead_missing")
    if known is None:
        known = attributes.bulkhead_missing = lacking(attributes, negotiated)
    return known


def lacking(attributes: Any, negotiated: Any) -> str:
    """What ``missing`` tells, worked out."""
    if CODE.ORIGIN not in attributes or CODE.AS_PATH not in attributes:
        return "a mandatory attribute is missing"
    if negotiated.local_as == negotiated.peer_as and CODE.LOCAL_PREF not in attributes:
        return "LOCAL_PREF is missing on an internal session"
    segments = attributes[CODE.AS_PATH].aspath
    if any("confed" in segment.NAME for segment in segments):
        return "confederation segments from a peer that is in none of ours"
    return ""


def settled(message: Any, negotiated: Any) -> Any:
    """Turn announcements into withdrawals where the attributes demand it."""
    if not isinstance(message, Update) or not message.attributes:
        return message
    attributes = message.attributes
    # ExaBGP keeps a discarded attribute's routes from its own RIB; RFC 7606 section 2 wants them.
    attributes.pop(CODE.INTERNAL_DISCARD, None)
    native = any(nlri.action == Action.ANNOUNCE for nlri in message.nlris if not is_block(nlri))
    erroneous = CODE.INTERNAL_TREAT_AS_WITHDRAW in attributes
    if erroneous or lacking(attributes, negotiated) or (native and CODE.NEXT_HOP not in attributes):
        for nlri in message.nlris:
            nlri.action = Action.WITHDRAW
    return message


def is_block(nlri: object) -> bool:
    """True for packed routes, False for ExaBGP's own NLRI objects."""
    return isinstance(nlri, Block)


def install() -> None:
    """Put these in the place of ExaBGP's."""
    for klass in (BlockReach, BlockUnreach):
        key = Attribute._registry_key(klass.ID, klass.FLAG)
        Attribute.registered_attributes[key] = klass
    Update.unpack_message = staticmethod(decode)
