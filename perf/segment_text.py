"""Verdict maps as the nft program reads them: the usual way to the kernel, to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from controlplane.model.verdict_tables import Slot, Tables, TablesDelta
from pe.nft.model import NamedSet
from pe.policy.elements import Encoder
from pe.policy.lookup import PREFIX, VERDICT_MAPS
from perf.segment_node import VRF, ZONE

TABLE = "inet copied"
_ENCODER = Encoder({VRF: ZONE})


def table(tables: Tables) -> str:
    """A table of its own with these maps, made anew in one transaction."""
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
    for name, elements in _ENCODER.tables(Slot.ENFORCED, tables).items():
        kind = VERDICT_MAPS[name.removeprefix(PREFIX[Slot.ENFORCED])]
        flags = " flags interval;" if kind.interval else ""
        of = " . ".join(kind.fields)
        lines.append(f"add map {TABLE} {name} {{ type {of} : mark;{flags} }}")
        lines += _element("add", name, _pairs(kind, elements))
    return "\n".join(lines) + "\n"


def change(delta: TablesDelta) -> str:
    """A change of that table."""
    lines: list[str] = []
    changes = _ENCODER.delta(Slot.ENFORCED, delta).items()
    for name, (gone, _) in changes:
        kind = VERDICT_MAPS[name.removeprefix(PREFIX[Slot.ENFORCED])]
        lines += _element("delete", name, [_key(kind, key) for key in gone])
    for name, (_, put) in changes:
        kind = VERDICT_MAPS[name.removeprefix(PREFIX[Slot.ENFORCED])]
        lines += _element("add", name, _pairs(kind, put))
    return "\n".join(lines) + "\n"


def _element(verb: str, name: str, elements: Iterable[str]) -> Iterator[str]:
    if listed := ", ".join(elements):
        yield f"{verb} element {TABLE} {name} {{ {listed} }}"


def _pairs(kind: NamedSet, elements: Mapping[bytes, bytes]) -> list[str]:
    return [f"{_key(kind, key)} : {_number(value)}" for key, value in elements.items()]


def _key(kind: NamedSet, key: bytes) -> str:
    if not kind.interval:
        return " . ".join(_fields(kind, key))
    first, last = key[: kind.key_length], key[kind.key_length :]
    ends = zip(_fields(kind, first), _fields(kind, last), strict=True)
    return " . ".join(low if low == high else f"{low}-{high}" for low, high in ends)


def _fields(kind: NamedSet, key: bytes) -> Iterator[str]:
    at = 0
    for name, size in zip(kind.fields, kind.sizes, strict=True):
        yield _field(name, key[at : at + size])
        at += size + 3 & ~3


def _field(name: str, value: bytes) -> str:
    match name:
        case "ipv4_addr":
            return str(IPv4Address(value))
        case "ipv6_addr":
            return str(IPv6Address(value))
        case "mark":
            return _number(value)
        case _:
            return str(int.from_bytes(value, "big"))


def _number(value: bytes) -> str:
    return f"{int.from_bytes(value, 'little'):#x}"
