"""Whether routes with these attributes may be used: the checks that ExaBGP leaves out."""

from __future__ import annotations

from typing import Any

from exabgp.bgp.message.update.attribute import CONFED_SEQUENCE, CONFED_SET, Attribute

CODE = Attribute.CODE
LENGTHS = {CODE.ORIGIN: 1, CODE.NEXT_HOP: 4, CODE.MED: 4, CODE.LOCAL_PREF: 4}
LAST_ORIGIN = 2
INTERNAL_ONLY = (CODE.LOCAL_PREF, CODE.ORIGINATOR_ID, CODE.CLUSTER_LIST)


def lengths(octets: bytes) -> dict[int, int]:
    """Attribute code -> length of its first occurrence, in octets whose framing is sound."""
    found: dict[int, int] = {}
    position = 0
    while position < len(octets):
        head = 4 if octets[position] & 0x10 else 3
        size = int.from_bytes(octets[position + 2 : position + head])
        found.setdefault(octets[position + 1], size)
        position += head + size
    return found


def unfit(octets: bytes, attributes: Any, negotiated: Any) -> str:
    """What keeps routes from being used; empty if nothing does.

    ``attributes`` are what ExaBGP made of ``octets``; it keeps no empty AS_PATH.
    """
    if CODE.INTERNAL_TREAT_AS_WITHDRAW in attributes:
        return "a malformed attribute (RFC 7606)"
    present = lengths(octets)
    if CODE.ORIGIN not in present or CODE.AS_PATH not in present:
        return "a mandatory attribute is missing (RFC 7606 section 3 d)"
    if not external(negotiated) and CODE.LOCAL_PREF not in present:
        return "LOCAL_PREF is missing on an internal session (RFC 7606 section 3 d)"
    if any(present.get(code, size) != size for code, size in LENGTHS.items()):
        return "an attribute of the wrong length (RFC 7606 sections 7.1 to 7.5)"
    if attributes[CODE.ORIGIN].origin > LAST_ORIGIN:
        return "an unknown origin (RFC 7606 section 7.1)"
    path = attributes.get(CODE.AS_PATH)
    segments = path.aspath if path is not None else ()
    if any(isinstance(segment, CONFED_SEQUENCE | CONFED_SET) for segment in segments):
        return "confederation segments from outside (RFC 5065 section 5)"
    if not all(segments):
        return "an AS_PATH segment without an AS (RFC 7606 section 7.2)"
    return ""


def external(negotiated: Any) -> bool:
    """True on an eBGP session."""
    return bool(negotiated.local_as != negotiated.peer_as)


def drop_internal(attributes: Any, negotiated: Any) -> None:
    """Take off what an external peer must not send (RFC 7606 sections 7.5, 7.9, 7.10)."""
    if external(negotiated):
        for code in INTERNAL_ONLY:
            attributes.pop(code, None)
