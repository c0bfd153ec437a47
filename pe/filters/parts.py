"""What the packet filters' tables are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pe.nft.model import Chain, NamedSet, Rule, Table
from pe.nft.names import name
from pe.nft.statements import DROP, Count
from pe.nft.types import device

FIRST, LAST = -(2**31) + 1, 2**31 - 1
"""Priorities, before and behind the chains of all other programs. First: zones, where the first one
counts (nft_ct_set_zone_eval), and what reads the core port's bit of a mark; that is before
defragmentation (-400), so that untracked packets are not put together. Last: what writes that bit,
and in FORWARD and OUTPUT the policy and the guards that look whether it has judged: what other
programs do to marks they have done by then."""

NamedChain = tuple[str, Chain]
FilledSet = tuple[str, NamedSet, dict[bytes, bytes]]
"""A set with its elements, as ``pe.nft.model.Elements`` has them."""


def counted(requirement: str, subject: str = "", traffic: str = "") -> Count:
    """Count under the requirement's id (security.md), the class of traffic where it keeps several
    apart, and the port or VRF that it protects."""
    prefix = f"{requirement}.{traffic}" if traffic else requirement
    suffix = f"__{name(subject)}" if subject else ""
    return Count(f"{prefix}{suffix}")


def dropped(requirement: str, subject: str = "", traffic: str = "") -> Rule:
    """Count and drop: the end of a rule."""
    return (counted(requirement, subject, traffic), DROP)


def devices(names: Iterable[str]) -> dict[bytes, bytes]:
    """Elements of a set of devices. ValueError for a name that no device can have."""
    return {device(name): b"" for name in names}


def table(chains: Iterable[NamedChain], sets: Iterable[FilledSet]) -> Table:
    """A table of these, with every counter that a rule names."""
    by_name = dict(chains)
    filled = list(sets)
    return Table(
        by_name,
        {name: made for name, made, _ in filled},
        frozenset(_counters(by_name.values())),
        {name: elements for name, made, elements in filled if not made.is_dynamic},
    )


def _counters(chains: Iterable[Chain]) -> Iterator[str]:
    for chain in chains:
        for rule in chain.rules:
            for statement in rule:
                if isinstance(statement, Count):
                    yield statement.name
