"""What a table of ours is made of: chains of rules, maps, counters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pe.nft.expression import Expression

Rule = tuple[Expression, ...]

FIELDS = {
    "mark": (19, 4),
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "icmp_type": (14, 1),
    "ifname": (41, 16),
    "ifindex": (20, 4),
    "zone": (4, 2),
}
"""Parts of keys: the nft program's number for the type, and bytes."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; ``hook`` is "" for one that is only gone to."""

    rules: tuple[Rule, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """A map from fields to 32-bit numbers, or to verdicts. ``interval``: from first to last."""

    fields: tuple[str, ...]
    interval: bool = False
    verdicts: bool = False

    @property
    def sizes(self) -> list[int]:
        """Bytes of each field."""
        return [FIELDS[name][1] for name in self.fields]

    @property
    def key_length(self) -> int:
        """Bytes of a key as it lies in registers: of several fields each is padded to four."""
        sizes = self.sizes
        return sizes[0] if len(sizes) == 1 else sum(size + 3 & ~3 for size in sizes)

    @property
    def key_type(self) -> int:
        """The nft program's number for the key, so that ``nft list`` shows it readably."""
        found = 0
        for name in self.fields:
            found = found << 6 | FIELDS[name][0]
        return found


@dataclass(frozen=True, slots=True)
class Program:
    """Everything in our table but the elements of the maps."""

    chains: Mapping[str, Chain] = field(default_factory=dict)
    maps: Mapping[str, Map] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()
