"""What may be made of the path attributes of an UPDATE: the checks of RFC 7606, one table.

ExaBGP's parser is then given sound attributes only, each once, with the flags that it expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import pack
from typing import Any

from controlplane.speaker.worker.surface import CONFED_SEQUENCE, CONFED_SET, SET, Attribute

CODE = Attribute.CODE
OPTIONAL, TRANSITIVE, EXTENDED = 0x80, 0x40, 0x10
LAST_ORIGIN = 2
SEGMENT_KINDS = range(1, 5)

FLAGS = {
    CODE.ORIGIN: TRANSITIVE,
    CODE.AS_PATH: TRANSITIVE,
    CODE.NEXT_HOP: TRANSITIVE,
    CODE.MED: OPTIONAL,
    CODE.LOCAL_PREF: TRANSITIVE,
    CODE.ATOMIC_AGGREGATE: TRANSITIVE,
    CODE.AGGREGATOR: OPTIONAL | TRANSITIVE,
    CODE.COMMUNITY: OPTIONAL | TRANSITIVE,
    CODE.ORIGINATOR_ID: OPTIONAL,
    CODE.CLUSTER_LIST: OPTIONAL,
    CODE.EXTENDED_COMMUNITY: OPTIONAL | TRANSITIVE,
    CODE.AS4_PATH: OPTIONAL | TRANSITIVE,
    CODE.AS4_AGGREGATOR: OPTIONAL | TRANSITIVE,
    CODE.LARGE_COMMUNITY: OPTIONAL | TRANSITIVE,
}
"""The attributes that Bulkhead reads. Of others the routes are taken, and they are not."""

SIZES = {CODE.ORIGIN: 1, CODE.NEXT_HOP: 4, CODE.MED: 4, CODE.LOCAL_PREF: 4, CODE.ORIGINATOR_ID: 4}
UNITS = {CODE.COMMUNITY: 4, CODE.CLUSTER_LIST: 4, CODE.EXTENDED_COMMUNITY: 8}
UNITS |= {CODE.LARGE_COMMUNITY: 12}
INTERNAL_ONLY = frozenset({CODE.LOCAL_PREF, CODE.ORIGINATOR_ID, CODE.CLUSTER_LIST})


@dataclass(slots=True)
class ValidatedAttributes:
    """``octets`` are the sound attributes, ``present`` their codes. ``fault`` is what keeps the
    routes from being used, "" if nothing does; ``discarded`` says what was left out."""

    octets: bytes = b""
    present: set[int] = field(default_factory=set)
    fault: str = ""
    discarded: list[str] = field(default_factory=list)


def walk(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Flags, code and value of each attribute, in octets whose framing is sound."""
    position = 0
    while position < len(octets):
        head = position + (4 if octets[position] & EXTENDED else 3)
        after = head + int.from_bytes(octets[position + 2 : head])
        yield octets[position], octets[position + 1], octets[head:after]
        position = after


def validate_attributes(octets: bytes, negotiated: Any) -> ValidatedAttributes:
    """Hold each attribute against what is specified for it."""
    found, kept, seen = ValidatedAttributes(), [], set()
    outside = external(negotiated)
    for flags, code, value in walk(octets):
        specified = FLAGS.get(code)
        if specified is None:
            if not flags & OPTIONAL:
                # RFC 4271 section 6.3 ends the session for it; its routes can be read as well as
                # those of any other malformed attribute (RFC 7606 section 2).
                found.fault = found.fault or f"attribute {code} is well-known, and is not"
        elif code in seen:
            found.discarded.append(f"{_name(code)} once more (RFC 7606 section 3 g)")
        elif outside and code in INTERNAL_ONLY:
            found.discarded.append(f"{_name(code)} from outside (RFC 7606 sections 7.5, 7.9, 7.10)")
        elif flags & (OPTIONAL | TRANSITIVE) != specified:
            found.fault = found.fault or f"flags 0x{flags:02x} of {_name(code)} (section 3 c)"
        elif discard := _to_discard(code, value, negotiated.asn4):
            found.discarded.append(discard)
        elif fault := _fault(code, value):
            found.fault = found.fault or fault
        else:
            found.present.add(code)
            kept.append(pack("!BBH", specified | EXTENDED, code, len(value)) + value)
        seen.add(code)
    found.octets = b"".join(kept)
    return found


def _fault(code: int, value: bytes) -> str:
    """Why the routes are treated as withdrawn (RFC 7606 sections 7.1 to 7.14, RFC 8092)."""
    size, unit = SIZES.get(code), UNITS.get(code)
    if size is not None and len(value) != size:
        return f"{_name(code)} of {len(value)} octets"
    if unit is not None and (not value or len(value) % unit):
        return f"{_name(code)} of {len(value)} octets"
    if code == CODE.ORIGIN and value[0] > LAST_ORIGIN:
        return f"unknown ORIGIN {value[0]}"
    return ""


def _to_discard(code: int, value: bytes, four_octets: bool) -> str:
    """Why an attribute is left out, and the routes stay (RFC 7606 7.6, 7.7, RFC 6793 section 6)."""
    if code == CODE.ATOMIC_AGGREGATE and value:
        return f"ATOMIC_AGGREGATE of {len(value)} octets"
    size = 8 if four_octets or code == CODE.AS4_AGGREGATOR else 6
    if code in (CODE.AGGREGATOR, CODE.AS4_AGGREGATOR) and len(value) != size:
        return f"{_name(code)} of {len(value)} octets"
    if code in (CODE.AS4_PATH, CODE.AS4_AGGREGATOR) and four_octets:
        return f"{_name(code)} on a session with four-octet AS numbers"
    if code == CODE.AS4_PATH and not _is_path(value):
        return "malformed AS4_PATH"
    return ""


def _is_path(value: bytes) -> bool:
    """True for whole segments of known kinds, each with an AS, four octets a number."""
    position = 0
    while position + 2 <= len(value):
        kind, count = value[position], value[position + 1]
        if kind not in SEGMENT_KINDS or not count:
            return False
        position += 2 + 4 * count
    return bool(value) and position == len(value)


def missing(validated: ValidatedAttributes, negotiated: Any, *, native: bool) -> str:
    """The mandatory attribute that routes do without (RFC 7606 section 3 d); "" if none."""
    wanted = [CODE.ORIGIN, CODE.AS_PATH]
    wanted += [] if external(negotiated) else [CODE.LOCAL_PREF]
    wanted += [CODE.NEXT_HOP] if native else []
    lacking = [_name(code) for code in wanted if code not in validated.present]
    return f"{' and '.join(lacking)} missing (RFC 7606 section 3 d)" if lacking else ""


def unfit_path(attributes: Any, negotiated: Any) -> str:
    """Return what is wrong with the AS_PATH that ExaBGP has parsed; "" if nothing is."""
    if CODE.INTERNAL_TREAT_AS_WITHDRAW in attributes:
        return "malformed AS_PATH (RFC 7606 section 7.2)"
    path = attributes.get(CODE.AS_PATH)
    segments = path.aspath if path is not None else ()
    if any(isinstance(segment, SET | CONFED_SET) for segment in segments):
        return "an AS_SET in the AS_PATH (RFC 9774 section 3)"
    confederation = any(isinstance(segment, CONFED_SEQUENCE) for segment in segments)
    if confederation and external(negotiated):
        return "confederation segments from outside (RFC 5065 section 5)"
    if not all(segments):
        return "an AS_PATH segment without an AS (RFC 7606 section 7.2)"
    return ""


def external(negotiated: Any) -> bool:
    """True on an eBGP session."""
    return bool(negotiated.local_as != negotiated.peer_as)


def _name(code: int) -> str:
    return str(CODE.names.get(code, code)).upper().replace("-", "_")
