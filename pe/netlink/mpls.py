"""MPLS encapsulations of routes and next hops (linux/lwtunnel.h, linux/mpls_iptunnel.h)."""

from __future__ import annotations

import struct

from pe.netlink import codec as nl

_ENCAP_MPLS = 1
_DST = 1


def encap(labels: tuple[int, ...], kind: int, value: int) -> list[bytes]:
    """Return the attributes, of these types, that push labels, outermost first."""
    stack = nl.attribute(_DST, _stack(labels))
    return [nl.nested(value, stack), nl.attribute(kind, struct.pack("=H", _ENCAP_MPLS))]


def _stack(labels: tuple[int, ...]) -> bytes:
    last = len(labels) - 1
    entries = (label << 12 | (0x100 if i == last else 0) for i, label in enumerate(labels))
    return b"".join(entry.to_bytes(4, "big") for entry in entries)


def parse_stack(data: memoryview) -> tuple[int, ...]:
    """The labels of an encoded stack, outermost first."""
    return tuple(int.from_bytes(data[i : i + 4], "big") >> 12 for i in range(0, len(data), 4))


def parse_encap(found: dict[int, memoryview], kind: int, value: int) -> tuple[int, ...] | None:
    """Return the labels of an encapsulation (attribute types differ between routes and next
    hops); () if there is none, None if it is not MPLS."""
    if kind not in found:
        return ()
    if nl.number(found[kind]) != _ENCAP_MPLS:
        return None
    stack = nl.attributes(found[value]).get(_DST)
    return parse_stack(stack) if stack is not None else None
