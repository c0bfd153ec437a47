"""AS_PATH and AS4_PATH of a received UPDATE (RFC 4271 section 4.3, RFC 5065, RFC 6793)."""

from __future__ import annotations

from struct import unpack

SET, SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4
KINDS = range(SET, CONFED_SET + 1)
CONFEDERATION = frozenset({CONFED_SEQUENCE, CONFED_SET})
LONGEST_SEGMENT = 255

Segment = tuple[int, tuple[int, ...]]
AsPath = tuple[Segment, ...]


def parse(value: bytes, four_octets: bool) -> AsPath:
    """Return the segments; ValueError for one of unknown type, without an AS, or cut short."""
    found: list[Segment] = []
    width, letter = (4, "I") if four_octets else (2, "H")
    position = 0
    while position < len(value):
        kind, count = value[position], value[position + 1 : position + 2]
        after = position + 2 + width * int.from_bytes(count)
        if kind not in KINDS or not any(count) or after > len(value):
            raise ValueError("malformed AS_PATH (RFC 7606 section 7.2)")
        found.append((kind, unpack(f"!{count[0]}{letter}", value[position + 2 : after])))
        position = after
    return tuple(found)


def fault(path: AsPath, external: bool) -> str:
    """Return why routes with this path are withdrawn; "" if they are not."""
    kinds = {kind for kind, _ in path}
    if kinds & {SET, CONFED_SET}:
        return "an AS_SET in the AS_PATH (RFC 9774 section 3)"
    if external and CONFED_SEQUENCE in kinds:
        return "confederation segments from outside (RFC 5065 section 5)"
    return ""


def merged(path: AsPath, four: AsPath) -> AsPath:
    """Return the path of a speaker with two-octet numbers (RFC 6793 section 4.2.3).

    AS4_PATH has the older part of it in full; what was added since stands in AS_PATH alone.
    """
    four = tuple(segment for segment in four if segment[0] not in CONFEDERATION)
    added = length(path) - length(four)
    if added < 0:
        return path
    head: list[Segment] = []
    for kind, asns in path:
        if kind in CONFEDERATION:
            head.append((kind, asns))
            continue
        if not added:
            break
        taken = asns[:added] if kind == SEQUENCE else asns
        head.append((kind, taken))
        added -= len(taken) if kind == SEQUENCE else 1
    return joined(tuple(head), four)


def length(path: AsPath) -> int:
    """Return the number of ASNs: a set counts as one, a confederation not at all."""
    weights = {SET: 1, CONFED_SEQUENCE: 0, CONFED_SET: 0}
    return sum(weights.get(kind, len(asns)) for kind, asns in path)


def joined(head: AsPath, tail: AsPath) -> AsPath:
    """Return both, two sequences that meet as one where that has room."""
    if not head or not tail or not head[-1][0] == tail[0][0] == SEQUENCE:
        return head + tail
    both = head[-1][1] + tail[0][1]
    if len(both) > LONGEST_SEGMENT:
        return head + tail
    return (*head[:-1], (SEQUENCE, both), *tail[1:])
