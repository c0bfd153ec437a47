"""What tables of ours are made of: chains of rules, sets, maps, counters, elements. Pure.

Both users of nftables write them: the packet filters in statements, the policy maps in the
kernel's own instructions, of which each is a statement as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from pe.nft.compiler import Statement
from pe.nft.types import TYPES, key_length, key_type, sizes

Rule: TypeAlias = tuple[Statement, ...]

Elements: TypeAlias = dict[str, dict[bytes, bytes]]
"""Set or map -> key -> value: ``b""`` in a set, 4 bytes of a mark, or a verdict's words such as
``goto CHAIN``. A key's fields are each padded to four bytes; of an interval, first and last."""


class TableId(NamedTuple):
    """A table: names are for each family."""

    family: str
    name: str


@dataclass(frozen=True, slots=True)
class Hook:
    """Where packets come into a chain; what becomes of those that no rule decides on. ``device``:
    of ``netdev``, whose packets."""

    name: str
    priority: int
    policy: str = "accept"
    device: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; without a ``hook`` it is only gone to."""

    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set, or with ``value`` (``mark``, ``verdict``) a map. ``fields`` are types of its keys;
    with ``interval`` they go from first to last. One with ``size`` is filled by packets, up to so
    many, which it forgets after ``timeout`` seconds, if any: its elements are not ours to say."""

    fields: tuple[str, ...]
    value: str = ""
    interval: bool = False
    size: int = 0
    timeout: int = 0

    @property
    def is_dynamic(self) -> bool:
        """True if packets fill it."""
        return self.size > 0

    @property
    def is_verdicts(self) -> bool:
        """True for a map of verdicts."""
        return self.value == "verdict"

    @property
    def key_length(self) -> int:
        """Bytes of a key as it lies in registers."""
        return key_length(self.fields)

    @property
    def key_type(self) -> int:
        """The nft program's number for the key, so that ``nft list`` shows it readably."""
        return key_type(self.fields)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each field."""
        return sizes(self.fields)

    @property
    def order(self) -> int:
        """How keys lie in memory (nft's enum byteorder), 0 where each field says it."""
        return TYPES[self.fields[0]].order if len(self.fields) == 1 else 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what it holds by name."""

    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, NamedSet] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()
    elements: Elements = field(default_factory=dict)


Ruleset: TypeAlias = dict[TableId, Table]
