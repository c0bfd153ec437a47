"""What may be made of the path attributes of an UPDATE: the checks of RFC 7606, one table.

What passes is given on as values by their code, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from controlplane.speaker.worker import as_path
from controlplane.speaker.worker.codes import Code

OPTIONAL, TRANSITIVE, EXTENDED = 0x80, 0x40, 0x10
LAST_ORIGIN = 2

FLAGS: dict[int, int] = {
    Code.ORIGIN: TRANSITIVE,
    Code.AS_PATH: TRANSITIVE,
    Code.NEXT_HOP: TRANSITIVE,
    Code.MED: OPTIONAL,
    Code.LOCAL_PREF: TRANSITIVE,
    Code.ATOMIC_AGGREGATE: TRANSITIVE,
    Code.AGGREGATOR: OPTIONAL | TRANSITIVE,
    Code.COMMUNITY: OPTIONAL | TRANSITIVE,
    Code.ORIGINATOR_ID: OPTIONAL,
    Code.CLUSTER_LIST: OPTIONAL,
    Code.EXTENDED_COMMUNITY: OPTIONAL | TRANSITIVE,
    Code.AS4_PATH: OPTIONAL | TRANSITIVE,
    Code.AS4_AGGREGATOR: OPTIONAL | TRANSITIVE,
    Code.LARGE_COMMUNITY: OPTIONAL | TRANSITIVE,
}
"""The attributes that Bulkhead reads. Others are passed on if they are optional and transitive,
else ignored (RFC 4271 section 5)."""

SIZES: dict[int, int] = {
    Code.ORIGIN: 1,
    Code.NEXT_HOP: 4,
    Code.MED: 4,
    Code.LOCAL_PREF: 4,
    Code.ORIGINATOR_ID: 4,
}
UNITS: dict[int, int] = {Code.COMMUNITY: 4, Code.CLUSTER_LIST: 4, Code.EXTENDED_COMMUNITY: 8}
UNITS |= {Code.LARGE_COMMUNITY: 12}
INTERNAL_ONLY = frozenset({Code.LOCAL_PREF, Code.ORIGINATOR_ID, Code.CLUSTER_LIST})


@dataclass(slots=True)
class ValidatedAttributes:
    """``values`` are the sound attributes by code, ``unknown`` those to be passed on unread as
    (flags, code, value). ``fault`` is what keeps the routes from being used, "" if nothing does;
    ``discarded`` says what was left out."""

    values: dict[int, bytes] = field(default_factory=dict)
    unknown: list[tuple[int, int, bytes]] = field(default_factory=list)
    fault: str = ""
    discarded: list[str] = field(default_factory=list)


def walk(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield flags, code and value of each attribute, in octets whose framing is sound."""
    position = 0
    while position < len(octets):
        head = position + (4 if octets[position] & EXTENDED else 3)
        after = head + int.from_bytes(octets[position + 2 : head])
        yield octets[position], octets[position + 1], octets[head:after]
        position = after


def validate_attributes(octets: bytes, negotiated: Any) -> ValidatedAttributes:
    """Hold each attribute against what is specified for it."""
    found, seen = ValidatedAttributes(), set()
    outside = external(negotiated)
    for flags, code, value in walk(octets):
        specified = FLAGS.get(code)
        if specified is None:
            if not flags & OPTIONAL:
                # RFC 4271 section 6.3 ends the session for it; its routes can be read as well as
                # those of any other malformed attribute (RFC 7606 section 2).
                found.fault = found.fault or f"attribute {code} is well-known, and is not"
            elif flags & TRANSITIVE and code not in seen:
                found.unknown.append((flags & ~EXTENDED, code, value))
        elif code in seen:
            found.discarded.append(f"{Code(code).name} once more (RFC 7606 section 3 g)")
        elif outside and code in INTERNAL_ONLY:
            name = Code(code).name
            found.discarded.append(f"{name} from outside (RFC 7606 sections 7.5, 7.9, 7.10)")
        elif flags & (OPTIONAL | TRANSITIVE) != specified:
            found.fault = found.fault or f"flags 0x{flags:02x} of {Code(code).name} (section 3 c)"
        elif discard := _to_discard(code, value, negotiated.asn4):
            found.discarded.append(discard)
        elif fault := _fault(code, value):
            found.fault = found.fault or fault
        else:
            found.values[code] = value
        seen.add(code)
    return found


def _fault(code: int, value: bytes) -> str:
    """Return why the routes are treated as withdrawn (RFC 7606 sections 7.1 to 7.14, RFC 8092)."""
    size, unit = SIZES.get(code), UNITS.get(code)
    if size is not None and len(value) != size:
        return f"{Code(code).name} of {len(value)} octets"
    if unit is not None and (not value or len(value) % unit):
        return f"{Code(code).name} of {len(value)} octets"
    if code == Code.ORIGIN and value[0] > LAST_ORIGIN:
        return f"unknown ORIGIN {value[0]}"
    return ""


def _to_discard(code: int, value: bytes, four_octets: bool) -> str:
    """Return why an attribute alone is left out (RFC 7606 7.6, 7.7, RFC 6793 section 6)."""
    if code == Code.ATOMIC_AGGREGATE and value:
        return f"ATOMIC_AGGREGATE of {len(value)} octets"
    size = 8 if four_octets or code == Code.AS4_AGGREGATOR else 6
    if code in (Code.AGGREGATOR, Code.AS4_AGGREGATOR) and len(value) != size:
        return f"{Code(code).name} of {len(value)} octets"
    if code in (Code.AS4_PATH, Code.AS4_AGGREGATOR) and four_octets:
        return f"{Code(code).name} on a session with four-octet AS numbers"
    if code == Code.AS4_PATH:
        try:
            as_path.parse(value, four_octets=True)
        except ValueError:
            return "malformed AS4_PATH (RFC 6793 section 6)"
    return ""


def missing(validated: ValidatedAttributes, negotiated: Any, *, native: bool) -> str:
    """Return the mandatory attributes that are missing (RFC 7606 section 3 d); "" if none."""
    wanted = [Code.ORIGIN, Code.AS_PATH]
    wanted += [] if external(negotiated) else [Code.LOCAL_PREF]
    wanted += [Code.NEXT_HOP] if native else []
    lacking = [Code(code).name for code in wanted if code not in validated.values]
    return f"{' and '.join(lacking)} missing (RFC 7606 section 3 d)" if lacking else ""


def external(negotiated: Any) -> bool:
    """Return True on an eBGP session."""
    return bool(negotiated.local_as != negotiated.peer_as)
