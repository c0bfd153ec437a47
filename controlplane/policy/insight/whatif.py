"""What would change if one compiled policy took the place of another, before it does."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.observed import Flow
from controlplane.model.protocols import ICMP, ICMP6, highest_point
from controlplane.model.verdict import Verdict
from controlplane.model.verdict_tables import Tables
from controlplane.model.workload import Packet
from controlplane.policy.compile.full import Compiled
from controlplane.policy.compile.identity import Membership
from controlplane.policy.compile.reader import Reader
from controlplane.policy.language.service import ANY_SERVICE, Service


class Ruling(NamedTuple):
    """A verdict with its rule's id."""

    allowed: bool
    rule: str


@dataclass(frozen=True, slots=True)
class FlowChange:
    """An observed flow that would be treated otherwise."""

    flow: Flow
    before: Ruling
    after: Ruling


class PairChange(NamedTuple):
    """Between two kinds of addresses of a VRF: services opened and closed.

    `source` and `destination` are memberships before and after. `any` among the services
    stands for all protocols but those in `named`, which are judged one by one.
    """

    zone: str
    source: tuple[Membership, Membership]
    destination: tuple[Membership, Membership]
    opened: tuple[Service, ...]
    closed: tuple[Service, ...]
    named: frozenset[int]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer. `narrows` is true when nothing that is denied now would be allowed; `pairs` are
    as many as were asked for."""

    flows: tuple[FlowChange, ...]
    pairs: tuple[PairChange, ...]
    narrows: bool

    @property
    def broken(self) -> tuple[FlowChange, ...]:
        """Observed flows that work now and would not."""
        return tuple(c for c in self.flows if c.before.allowed)

    @property
    def opened(self) -> tuple[FlowChange, ...]:
        """Observed flows that are denied now and would not be."""
        return tuple(c for c in self.flows if not c.before.allowed)


def what_if(
    before: Compiled, after: Compiled, flows: Iterable[Flow], most_pairs: int | None = None
) -> WhatIf:
    """Compare two policies compiled over the same inventory.

    `flows` changes list observed flows whose verdict (not merely whose rule) differs; `pairs`
    covers all addresses, seen or not. The memory that it takes does not grow beyond `most_pairs`.
    """
    kept: list[PairChange] = []
    narrows = True
    for pair in _pair_changes(before, after):
        narrows = narrows and not pair.opened
        if most_pairs is None or len(kept) < most_pairs:
            kept.append(pair)
    return WhatIf(tuple(_flow_changes(before, after, flows)), tuple(kept), narrows)


def _flow_changes(before: Compiled, after: Compiled, flows: Iterable[Flow]) -> Iterator[FlowChange]:
    old, new = Reader(before.tables), Reader(after.tables)
    for flow in flows:
        what = (flow.zone, flow.source, flow.destination, flow.packet)
        was, will = old.verdict(*what), new.verdict(*what)
        if was.allowed != will.allowed:
            yield FlowChange(flow, _ruling(before, was), _ruling(after, will))


def _ruling(compiled: Compiled, verdict: Verdict) -> Ruling:
    return Ruling(verdict.allowed, compiled.rule_ids[verdict.rule])


class _Kind(NamedTuple):
    """Addresses that neither policy distinguishes."""

    zone: str
    before: int
    after: int


def _pair_changes(before: Compiled, after: Compiled) -> Iterator[PairChange]:
    kinds = _kinds(before.tables, after.tables)
    compare = _Comparison(before.tables, after.tables)
    for zone, group in itertools.groupby(sorted(kinds), key=lambda kind: kind.zone):
        for source, destination in itertools.product(list(group), repeat=2):
            families = kinds[source] & kinds[destination]
            change = compare.between(source, destination, families)
            if change.opened or change.closed:
                yield PairChange(
                    zone,
                    _memberships(before, after, source),
                    _memberships(before, after, destination),
                    *change,
                )


def _memberships(before: Compiled, after: Compiled, kind: _Kind) -> tuple[Membership, Membership]:
    old, new = before.identities[kind.before], after.identities[kind.after]
    return old.membership, new.membership


def _kinds(before: Tables, after: Tables) -> dict[_Kind, frozenset[int]]:
    """Return every pair of identities that some address has, with the families it has them in."""
    found: dict[_Kind, frozenset[int]] = {}
    for family, old, new in (
        (4, (before.addresses4, before.ranges4), (after.addresses4, after.ranges4)),
        (6, (before.addresses6, before.ranges6), (after.addresses6, after.ranges6)),
    ):
        taken = sorted(old[0])
        for zone, first, last, one, other in _joint_ranges(old[1], new[1]):
            if not _shadowed(taken, zone, first, last):
                kind = _Kind(zone, one, other)
                found[kind] = found.get(kind, frozenset()) | {family}
        for key in taken:
            kind = _Kind(key[0], old[0][key], new[0][key])
            found[kind] = found.get(kind, frozenset()) | {family}
    return found


_Ranges = dict[tuple[str, bytes, bytes], int]


def _joint_ranges(old: _Ranges, new: _Ranges) -> Iterator[tuple[str, bytes, bytes, int, int]]:
    """Yield the ranges of both, cut along each other; both cover the same VRFs without a gap."""
    one, other = sorted(old.items()), sorted(new.items())
    place = along = 0
    while place < len(one) and along < len(other):
        (zone, low, high), identity = one[place]
        (_, start, end), second = other[along]
        yield zone, max(low, start), min(high, end), identity, second
        place += high <= end
        along += end <= high


def _shadowed(taken: list[tuple[str, bytes]], zone: str, first: bytes, last: bytes) -> bool:
    """Return whether every address of a range has an element of its own."""
    inside = bisect_right(taken, (zone, last)) - bisect_left(taken, (zone, first))
    return inside == int.from_bytes(last) - int.from_bytes(first) + 1


_OWN_FAMILY = {ICMP: 4, ICMP6: 6}


class _Change(NamedTuple):
    """The part of a PairChange that depends on the two contracts only."""

    opened: tuple[Service, ...]
    closed: tuple[Service, ...]
    named: frozenset[int]


class _Comparison:
    """Services opened and closed between contracts, each pair of contracts compared once."""

    def __init__(self, before: Tables, after: Tables) -> None:
        self._before, self._after = Reader(before), Reader(after)
        self._old, self._new = _edges(before), _edges(after)
        self._memo: dict[tuple[int, int, frozenset[int]], _Change] = {}

    def between(self, source: _Kind, destination: _Kind, families: frozenset[int]) -> _Change:
        old = self._before.contract(source.before, destination.before)
        new = self._after.contract(source.after, destination.after)
        key = (old, new, families)
        if key not in self._memo:
            changes = list(self._changes(old, new, families)) if families else []
            self._memo[key] = _Change(
                tuple(service for opened, service in changes if opened),
                tuple(service for opened, service in changes if not opened),
                frozenset(self._old.get(old, {})) | frozenset(self._new.get(new, {})),
            )
        return self._memo[key]

    def _changes(
        self, old: int, new: int, families: frozenset[int]
    ) -> Iterator[tuple[bool, Service]]:
        was, will = self._old.get(old, {}), self._new.get(new, {})
        for protocol in sorted(was.keys() | will.keys()):
            # ICMP of a family that the two do not share is denied under every contract.
            if _OWN_FAMILY.get(protocol, min(families)) in families:
                cuts = {0} | was.get(protocol, set()) | will.get(protocol, set())
                yield from self._protocol(old, new, protocol, sorted(cuts))
        other = next(p for p in range(255, 0, -1) if p not in was and p not in will)
        if (change := self._at(old, new, other, 0)) is not None:
            yield change, ANY_SERVICE

    def _protocol(
        self, old: int, new: int, protocol: int, cuts: list[int]
    ) -> Iterator[tuple[bool, Service]]:
        held: tuple[bool, Service] | None = None
        for low, after in itertools.pairwise([*cuts, highest_point(protocol) + 1]):
            change = self._at(old, new, protocol, low)
            if held is not None and change is held[0] and held[1].high == low - 1:
                held = change, Service(protocol, held[1].low, after - 1)
                continue
            if held is not None:
                yield held
            held = None if change is None else (change, Service(protocol, low, after - 1))
        if held is not None:
            yield held

    def _at(self, old: int, new: int, protocol: int, point: int) -> bool | None:
        """Return True: opened, False: closed, None: as it was."""
        packet = Packet(0, protocol, dport=point, icmp_type=point)
        was = self._before.in_contract(old, packet).allowed
        will = self._after.in_contract(new, packet).allowed
        return None if was == will else will


_Edges = dict[int, dict[int, set[int]]]


def _edges(tables: Tables) -> _Edges:
    """Return where, by contract and protocol, verdicts may change."""
    found: _Edges = {}
    for contract, protocol in tables.protocols:
        found.setdefault(contract, {}).setdefault(protocol, set())
    spans = [(c, p, low, low) for c, p, low in (*tables.ports, *tables.icmp)]
    for contract, protocol, low, high in (*spans, *tables.port_ranges):
        edges = found.setdefault(contract, {}).setdefault(protocol, set())
        edges |= {low, high + 1} - {highest_point(protocol) + 1}
    return found
