"""Contracts: everything that the rules between two identities say, flattened.

Tiers, order, pass and log are gone: a contract is one verdict per protocol and port or ICMP
type, over disjoint ranges. Many pairs of identities share few contracts.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from controlplane.model.protocols import ICMP, ICMP6, highest_point
from controlplane.model.verdict import BY_FULL, BY_PENDING, BY_SELECTIVE, BY_VISIBILITY, Verdict
from controlplane.policy.language.rule import Action, Rule, Tier
from controlplane.policy.language.service import Service

_UNNAMED = -1
"""Stands for every protocol that no service of the contract names."""


class Default(NamedTuple):
    """What holds where no rule decides: `verdict`, but for `services` BY_SELECTIVE."""

    verdict: Verdict
    services: frozenset[Service] = frozenset()

    def at(self, protocol: int, point: int) -> Verdict:
        """Return the default for one protocol and port or ICMP type."""
        if any(service.covers(protocol, point) for service in self.services):
            return BY_SELECTIVE
        return self.verdict


OPEN = Default(BY_VISIBILITY)
CLOSED = Default(BY_FULL)
UNTRUSTED = Default(BY_PENDING)

NumberedRule = tuple[int, Rule]


class Span(NamedTuple):
    """A verdict for the ports or ICMP types low..high of one protocol."""

    protocol: int
    low: int
    high: int
    verdict: Verdict


class Contract(NamedTuple):
    """`spans` first, then `protocols`, then `verdict` for everything else.

    Spans of a protocol are disjoint, ascending, and differ from the protocol's verdict.
    """

    verdict: Verdict
    protocols: tuple[tuple[int, Verdict], ...] = ()
    spans: tuple[Span, ...] = ()

    def at(self, protocol: int, point: int) -> Verdict:
        """Return the verdict for one protocol and port or ICMP type."""
        for span in self.spans:
            if span.protocol == protocol and span.low <= point <= span.high:
                return span.verdict
        return dict(self.protocols).get(protocol, self.verdict)


def flatten(rules: Sequence[NumberedRule], default: Default) -> Contract:
    """Return the contract of rules (in order of evaluation, with their numbers) over a default."""
    unnamed = (each for each in rules if each[1].covers(_UNNAMED, 0))
    otherwise = _decide(unnamed, default, _UNNAMED, 0)
    protocols: list[tuple[int, Verdict]] = []
    spans: list[Span] = []
    services = _services(rules, default)
    for protocol in sorted({s.protocol for s in services if s.protocol is not None}):
        pieces = list(_pieces(rules, default, protocol, services))
        usual = _most_common(pieces)
        if usual != otherwise:
            protocols.append((protocol, usual))
        spans.extend(piece for piece in pieces if piece.verdict != usual)
    return Contract(otherwise, tuple(protocols), tuple(spans))


def _services(rules: Sequence[NumberedRule], default: Default) -> set[Service]:
    return {service for _, rule in rules for service in rule.services} | default.services


def _pieces(
    rules: Sequence[NumberedRule], default: Default, protocol: int, services: Iterable[Service]
) -> Iterator[Span]:
    """Cut the protocol where any service begins or ends; join neighbours that came out equal.

    The rules that cover a piece are kept from piece to piece: each piece was compared with every
    rule, which took half a minute for a pair that ten thousand rules mean.
    """
    top = highest_point(protocol)
    cuts = {0, top + 1}
    for service in services:
        if service.protocol == protocol:
            cuts |= {service.low, service.high + 1}
    edges = sorted(cuts)
    covering = _Covering(rules, protocol, top)
    held: Span | None = None
    for low, after in itertools.pairwise(edges):
        verdict = _decide(covering.at(low), default, protocol, low)
        if held is not None and held.verdict == verdict:
            held = held._replace(high=after - 1)
            continue
        if held is not None:
            yield held
        held = Span(protocol, low, after - 1, verdict)
    if held is not None:
        yield held


class _Covering:
    """The rules that cover a point of a protocol, in order, for points that ascend."""

    def __init__(self, rules: Sequence[NumberedRule], protocol: int, top: int) -> None:
        self._rules = rules
        self._turns: dict[int, list[tuple[int, int]]] = {}
        for place, (_, rule) in enumerate(rules):
            for service in rule.services:
                if service.protocol is None:
                    self._turn(place, 0, top)
                elif service.protocol == protocol:
                    self._turn(place, service.low, service.high)
        self._services: Counter[int] = Counter()
        self._places: list[int] = []

    def _turn(self, place: int, low: int, high: int) -> None:
        self._turns.setdefault(low, []).append((place, 1))
        self._turns.setdefault(high + 1, []).append((place, -1))

    def at(self, point: int) -> Iterator[NumberedRule]:
        """Yield the rules at a point at which one of their services may begin or end."""
        for place, more in self._turns.pop(point, ()):
            before, after = self._services[place], self._services[place] + more
            self._services[place] = after
            if before <= 0 < after:
                insort(self._places, place)
            elif after <= 0 < before:
                del self._places[bisect_left(self._places, place)]
        return (self._rules[place] for place in self._places)


def _most_common(pieces: Sequence[Span]) -> Verdict:
    """Return the verdict that holds for most ports: what is left are the fewest elements."""
    widths: dict[Verdict, int] = {}
    for piece in pieces:
        widths[piece.verdict] = widths.get(piece.verdict, 0) + piece.high - piece.low + 1
    return max(widths, key=lambda verdict: widths[verdict])


def _decide(rules: Iterable[NumberedRule], default: Default, protocol: int, point: int) -> Verdict:
    """Return the verdict of rules that cover this point."""
    logs: tuple[int, ...] = ()
    left: Tier | None = None
    for number, rule in rules:
        if rule.tier is left:
            continue
        if rule.action is Action.LOG:
            logs += (number,)
        elif rule.action is Action.PASS:
            left = rule.tier
        else:
            return Verdict(rule.action is Action.ALLOW, number, logs)
    return default.at(protocol, point)._replace(logs=logs)


def contract_elements(number: int, contract: Contract) -> Iterator[tuple[str, Any, Verdict]]:
    """Map name, key and value of each element that a contract is made of."""
    yield "contracts", number, contract.verdict
    for protocol, verdict in contract.protocols:
        yield "protocols", (number, protocol), verdict
    for protocol, low, high, verdict in contract.spans:
        if protocol in (ICMP, ICMP6):
            for kind in range(low, high + 1):
                yield "icmp", (number, protocol, kind), verdict
        elif low == high:
            yield "ports", (number, protocol, low), verdict
        else:
            yield "port_ranges", (number, protocol, low, high), verdict
