"""UPDATE messages on their way in: routes kept packed, attributes parsed once and reused.

A message whose framing is irregular goes to ExaBGP's own parser, whose error handling (RFC 7606)
then applies: it ends the session, or the routes that it still finds are withdrawn.
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
from exabgp.logger import log

from controlplane.speaker.child.blocks import VPN_SAFI, Block, check
from controlplane.speaker.child.fitness import drop_internal, unfit

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
    if parts is None:
        return withdrawn(stock_decode(data, direction, negotiated), "its framing (RFC 7606)")
    if parts.marker:
        return EOR.unpack_message(EOR.NLRI.PREFIX + parts.marker, direction, negotiated)
    attributes, fault = parsed(parts.rest, direction, negotiated)
    if parts.announced and CODE.NEXT_HOP not in attributes:
        fault = fault or "NEXT_HOP is missing (RFC 7606 section 3 d)"
    update = Update(list(blocks(parts, attributes, direction, negotiated)), attributes)
    announces = parts.announced or parts.reach
    return withdrawn(update, fault) if fault and announces else update


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
        hop = str(attributes.get(CODE.NEXT_HOP, ""))
        yield Block(1, 1, Action.ANNOUNCE, parts.announced, hop)


def parsed(rest: bytes, direction: Any, negotiated: Any) -> tuple[Any, str]:
    """The attributes of these octets and what is wrong with them, from this session's cache.

    The cache is the session's: what the octets mean depends on what it negotiated (RFC 6793).
    """
    cache = negotiated.__dict__.setdefault("bulkhead_attributes", {})
    known: tuple[Any, str] | None = cache.get(rest)
    if known is None:
        attributes = Attributes().parse(rest, direction, negotiated)
        fault = unfit(rest, attributes, negotiated)
        if not fault:
            attributes.reconcile_four_octet_as()
            drop_internal(attributes, negotiated)
            # A discarded attribute (RFC 7606 section 2) costs the routes nothing else.
            attributes.pop(CODE.INTERNAL_DISCARD, None)
        if len(cache) >= CACHE_SIZE:
            cache.clear()
        known = cache[rest] = attributes, fault
    return known


def withdrawn(message: Any, fault: str) -> Any:
    """Treat-as-withdraw: what the message announces is withdrawn."""
    log.warning(lambda: f"UPDATE treated as a withdrawal: {fault}", "parser")
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
    # RFC 7606 sections 7.9 and 7.10; ExaBGP would end the session.
    Attributes.TREAT_AS_WITHDRAW += (CODE.ORIGINATOR_ID, CODE.CLUSTER_LIST)
    Update.unpack_message = staticmethod(decode)
