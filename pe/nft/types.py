"""Data types of keys and values: their bytes in the kernel's registers, and as ``nft`` prints them.

The numbers of the types are those of the nft program (include/datatype.h): the kernel keeps them
with each set and does not look at them, ``nft list`` shows elements by them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

HOST_ORDER, NETWORK_ORDER = 1, 2
"""How a type's numbers lie in memory: BYTEORDER_HOST_ENDIAN and BYTEORDER_BIG_ENDIAN of nft."""

DEVICE_BYTES = 16
_DEVICE = re.compile(r"[^\s/\"\\{};@#\x00-\x1f\x7f]{1,15}")


@dataclass(frozen=True, slots=True)
class DataType:
    """A type of nft: ``number`` is TYPE_* of the nft program, ``size`` in bytes."""

    name: str
    number: int
    size: int
    order: int = NETWORK_ORDER
    names: Mapping[int, str] = field(default_factory=dict, hash=False)

    def encode(self, value: int | str | IPv4Address | IPv6Address) -> bytes:
        """The bytes of a number, an address, one of ``names`` or a device's name. ValueError for
        what is none."""
        if isinstance(value, IPv4Address | IPv6Address):
            return value.packed
        if isinstance(value, int):
            return value.to_bytes(self.size, self._order)
        if self.name == "ifname":
            return device(value)
        numbers = {word: number for number, word in self.names.items()}
        if value not in numbers:
            raise ValueError(f"nft's {self.name} has no {value!r}")
        return self.encode(numbers[value])

    def words(self, data: bytes) -> str:
        """The value as nft reads it."""
        if self.name == "ifname":
            return f'"{data.rstrip(bytes(1)).decode()}"'
        if self.name == "ipv4_addr":
            return str(IPv4Address(data))
        if self.name == "ipv6_addr":
            return str(IPv6Address(data))
        number = int.from_bytes(data, self._order)
        return self.names.get(number, str(number))

    @property
    def _order(self) -> Literal["big", "little"]:
        return "big" if self.order == NETWORK_ORDER else sys.byteorder


def device(name: str) -> bytes:
    """A device's name as it lies in registers; ValueError for one that no device can have."""
    data = name.encode()
    if not _DEVICE.fullmatch(name) or len(data) >= DEVICE_BYTES:
        raise ValueError(f"{name!r} cannot be the name of a port")
    return data.ljust(DEVICE_BYTES, b"\0")


_ICMPV6 = {133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit",
           136: "nd-neighbor-advert", 137: "nd-redirect"}  # fmt: skip
TYPES: Mapping[str, DataType] = {
    kind.name: kind
    for kind in (
        DataType("nfproto", 2, 1, HOST_ORDER, {2: "ipv4", 10: "ipv6"}),
        DataType("integer8", 4, 1),
        DataType("integer16", 4, 2),
        DataType("integer24", 4, 3),
        DataType("ipv4_addr", 7, 4),
        DataType("ipv6_addr", 8, 16),
        DataType("ether_type", 10, 2, names={0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp",
                                              0x8100: "8021q", 0x8847: "0x8847"}),
        DataType("inet_proto", 12, 1),
        DataType("inet_service", 13, 2),
        DataType("icmp_type", 14, 1),
        DataType("mark", 19, 4, HOST_ORDER),
        DataType("iface_index", 20, 4, HOST_ORDER),
        DataType("uid", 24, 4, HOST_ORDER),
        DataType("icmpv6_type", 29, 1, names=_ICMPV6),
        DataType("ifname", 41, DEVICE_BYTES, HOST_ORDER),
        DataType("fib_addrtype", 42, 4, HOST_ORDER, {2: "local"}),
        DataType("zone", 4, 2, HOST_ORDER),
        DataType("vlan_id", 4, 2),
        DataType("tcp_flags", 15, 1, names={2: "syn", 0x12: "(syn|ack)"}),
        DataType("ct_state", 26, 4, HOST_ORDER, {8: "new"}),
    )
}  # fmt: skip


def padded(size: int) -> int:
    """Bytes that a field of a concatenation takes: registers have four."""
    return size + 3 & ~3


def sizes(fields: Sequence[str]) -> list[int]:
    """Bytes of each field."""
    return [TYPES[name].size for name in fields]


def key_length(fields: Sequence[str]) -> int:
    """Bytes of a key as it lies in registers: of several fields each is padded to four."""
    if len(fields) == 1:
        return TYPES[fields[0]].size
    return sum(map(padded, sizes(fields)))


def key_type(fields: Sequence[str]) -> int:
    """The nft program's number for a key: six bits for each field (concat_type_alloc)."""
    found = 0
    for name in fields:
        found = found << 6 | TYPES[name].number
    return found


def concatenated(*parts: bytes) -> bytes:
    """A key of several fields."""
    return b"".join(part.ljust(padded(len(part)), b"\0") for part in parts)


def key_words(fields: Sequence[str], key: bytes) -> str:
    """A key of these fields as nft reads it."""
    words, at = [], 0
    for size, name in zip(sizes(fields), fields, strict=True):
        words.append(TYPES[name].words(key[at : at + size]))
        at += padded(size)
    return " . ".join(words)
