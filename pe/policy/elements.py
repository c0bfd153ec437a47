"""Verdict tables as keys and values of the kernel's maps. Pure.

A key is the bytes that the program puts into registers: each field padded to four bytes, numbers
in the machine's order, what comes from packets as it comes. Keys of intervals are first and last,
one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from controlplane.model.verdict_tables import Slot, Tables, TablesDelta
from pe.nft.diff import Change
from pe.nft.expression import host32
from pe.nft.model import Elements
from pe.nft.types import device
from pe.policy.lookup import PREFIX
from pe.policy.ports import Port

_ONE, _TWO = struct.Struct("=I"), struct.Struct("=II")
_PROTOCOL, _ICMP, _PORT = (
    struct.Struct("=IBxxx"),
    struct.Struct("=IBxxxBxxx"),
    struct.Struct(">Hxx"),
)
_VERDICTS = frozenset({"contracts", "protocols", "ports", "port_ranges", "icmp"})


class Encoder:
    """Encodes with given zones; what belongs to other VRFs is left out."""

    def __init__(self, zones: Mapping[str, int]) -> None:
        self._zones = encoded_zones(zones)

    def tables(self, slot: Slot, tables: Tables) -> Elements:
        """All elements of a slot's maps."""
        return {
            PREFIX[slot] + name: self._elements(name, elements) for name, elements in tables.maps()
        }

    def delta(self, slot: Slot, delta: TablesDelta) -> Change:
        """A change of a slot's maps."""
        return {
            PREFIX[slot] + name: (
                list(self._elements(name, dict.fromkeys(change.gone, 1), plain=True)),
                self._elements(name, change.put),
            )
            for name, change in delta.items()
        }

    def _elements(
        self, name: str, elements: Mapping[Any, Any], *, plain: bool = False
    ) -> dict[bytes, bytes]:
        if name.startswith(("addresses", "ranges")):
            return addresses(self._zones, elements, ranges=name.startswith("ranges"))
        key = _KEYS[name]
        if name in _VERDICTS and not plain:
            words: dict[Any, bytes] = {v: host32(v.word) for v in set(elements.values())}
            return {key(k): words[v] for k, v in elements.items()}
        pack = _ONE.pack
        return {key(k): pack(v) for k, v in elements.items()}


def encoded_zones(zones: Mapping[str, int]) -> dict[str, bytes]:
    """VRF -> its zone as it lies in a register."""
    return {vrf: host32(zone) for vrf, zone in zones.items()}


def addresses(
    zones: Mapping[str, bytes], elements: Mapping[Any, int], *, ranges: bool
) -> dict[bytes, bytes]:
    """Elements whose keys are a zone and an address, or the first and the last of a range."""
    pack = _ONE.pack
    if ranges:
        return {
            (z := zones[vrf]) + first + z + last: pack(value)
            for (vrf, first, last), value in elements.items()
            if vrf in zones
        }
    return {
        zones[vrf] + address: pack(value)
        for (vrf, address), value in elements.items()
        if vrf in zones
    }


def _port(key: tuple[int, int, int]) -> bytes:
    return _PROTOCOL.pack(key[0], key[1]) + _PORT.pack(key[2])


def _port_range(key: tuple[int, int, int, int]) -> bytes:
    contract = _PROTOCOL.pack(key[0], key[1])
    return contract + _PORT.pack(key[2]) + contract + _PORT.pack(key[3])


_KEYS: Mapping[str, Callable[[Any], bytes]] = {
    "pairs": lambda key: _TWO.pack(*key),
    "sources": _ONE.pack,
    "destinations": _ONE.pack,
    "contracts": _ONE.pack,
    "protocols": lambda key: _PROTOCOL.pack(*key),
    "ports": _port,
    "port_ranges": _port_range,
    "icmp": lambda key: _ICMP.pack(*key),
}


def gates(zones: Mapping[str, int], ports: Mapping[str, Port]) -> Elements:
    """Elements of the gates, for VRFs under policy and ports by name."""
    out = {name: zones[port.vrf] for name, port in ports.items() if port.vrf in zones}
    return {
        "zones": {_zone(zone): _goto("vrf", zone) for zone in zones.values()},
        "zones_out": {_zone(zone): _goto("vrf_out", zone) for zone in zones.values()},
        "vrfs": {device(vrf): _goto("untracked", zone) for vrf, zone in zones.items()},
        "ports_out": {device(port): _goto("untracked_out", zone) for port, zone in out.items()},
        "ports_in": {device(port): _goto("binding", zone) for port, zone in out.items()},
    }


def _goto(chain: str, zone: int) -> bytes:
    return f"goto {chain}_{zone}".encode()


def _zone(zone: int) -> bytes:
    return struct.pack("=H", zone)
