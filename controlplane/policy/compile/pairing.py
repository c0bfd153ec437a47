"""What two identities have to do with each other under a policy: their contract.

Each identity is reduced once to its sides: which rules mean it as source, which as destination
(bit masks over the rules in order), and its mode. A pair is then one `&` and one memo lookup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from controlplane.model.verdict import FIRST_RULE, RULE_MASK
from controlplane.policy.compile.contract import (
    CLOSED,
    OPEN,
    UNTRUSTED,
    Contract,
    Default,
    NumberedRule,
    flatten,
)
from controlplane.policy.compile.identity import EndpointKind, Identity, Membership
from controlplane.policy.compile.numbers import IdAllocator
from controlplane.policy.language.policy import Mode, Modes, ModeSetting, Policy
from controlplane.policy.language.rule import ANYONE, Rule, RuleEndpoint, RuleEndpointKind
from controlplane.policy.language.service import Service

CONTRACT_FLAG = 1 << 31
"""Set in every contract number, never in an identity: the two may share a packet mark."""

EVERYWHERE = ""
"""The VRF of rules that act in all of them."""

_K = TypeVar("_K")

ContractBook = IdAllocator[Contract]
RuleBook = IdAllocator[str]


def contract_book(taken: Mapping[Contract, int] | None = None) -> ContractBook:
    """Return a book of contract numbers 2^31+1 .. 2^32-1."""
    return IdAllocator(CONTRACT_FLAG + 1, 2 * CONTRACT_FLAG - 1, taken)


def rule_book(taken: Mapping[str, int] | None = None) -> RuleBook:
    """Return a book of rule numbers by rule text: an unchanged rule keeps its number over
    revisions."""
    return IdAllocator(FIRST_RULE, RULE_MASK, taken)


class CompiledSide(NamedTuple):
    """An identity as the rules see it. `denied` are services denied towards it (selective)."""

    as_source: int
    as_destination: int
    pending: bool = False
    full: bool = False
    denied: frozenset[Service] = frozenset()


class _Bits(Generic[_K]):
    """Which rules have something, by what they have."""

    def __init__(self) -> None:
        self._bits: dict[_K, list[int]] = {}

    def note(self, bit: int, keys: Iterable[_K]) -> None:
        for key in keys:
            self._bits.setdefault(key, []).append(bit)

    def masks(self) -> dict[_K, int]:
        return {key: _mask(bits) for key, bits in self._bits.items()}


@dataclass(frozen=True, slots=True)
class _Masks:
    """For each endpoint, the rules that name it on one side."""

    by_endpoint: Mapping[RuleEndpoint, int]

    def meaning(self, membership: Membership) -> int:
        """Return the rules of this side that mean a membership."""
        mask = 0
        for endpoint in _endpoints(membership):
            mask |= self.by_endpoint.get(endpoint, 0)
        return mask


def _endpoints(membership: Membership) -> Iterable[RuleEndpoint]:
    yield ANYONE
    inside = membership.standing is EndpointKind.WORKLOAD
    yield RuleEndpoint(RuleEndpointKind.WORKLOADS if inside else RuleEndpointKind.OUTSIDE)
    for name in membership.names:
        yield RuleEndpoint(RuleEndpointKind.GROUP if inside else RuleEndpointKind.NETWORK, name)


class Pairing:
    """Contracts between identities under one policy. Stateless but for memos and the books."""

    def __init__(self, policy: Policy, rules: RuleBook, contracts: ContractBook) -> None:
        self._policy = policy
        self._rule_numbers = rules
        self._texts: list[str] = []
        self.rules: list[NumberedRule] = []
        self._book = contracts
        self._modes = policy.modes
        self._memo: dict[tuple[int, Default], int] = {}
        self._contracts: dict[int, Contract] = {}
        self._memoized: dict[int, list[tuple[int, Default]]] = {}
        self._work = 0

    def read(self) -> Iterator[int]:
        """Read the rules, before anything else; yields the units of each piece of work."""
        twins: dict[str, int] = {}
        sources, destinations = _Bits[RuleEndpoint](), _Bits[RuleEndpoint]()
        zones = _Bits[str]()
        for bit, rule in enumerate(self._policy.rules):
            text = rule_text(rule, twins)
            self.rules.append((self._rule_numbers.acquire(text), rule))
            self._texts.append(text)
            sources.note(bit, rule.sources)
            destinations.note(bit, rule.destinations)
            zones.note(bit, rule.vrfs or (EVERYWHERE,))
            yield 4
        self._sources, self._destinations = _Masks(sources.masks()), _Masks(destinations.masks())
        self._any_source = self._sources.by_endpoint.get(ANYONE, 0)
        self._any_destination = self._destinations.by_endpoint.get(ANYONE, 0)
        self._zones: Mapping[str, int] = zones.masks()
        yield len(self.rules) // 5

    def side(self, identity: Identity) -> CompiledSide:
        """Return how rules and modes see an identity."""
        zone, membership = identity
        if membership.standing is EndpointKind.PENDING:
            return CompiledSide(0, 0, pending=True)
        here = self._rules_in(zone)
        full, denied = posture(self._modes, zone, membership)
        return CompiledSide(
            self._sources.meaning(membership) & here,
            self._destinations.meaning(membership) & here,
            full=full,
            denied=denied,
        )

    def between(self, source: CompiledSide, destination: CompiledSide) -> int:
        """Return the contract number for packets from `source` to `destination`."""
        return self._number(
            source.as_source & destination.as_destination, _default(source, destination)
        )

    def from_source(self, source: CompiledSide) -> int | None:
        """Return the contract of a source towards destinations that no rule singles out.

        None when the source is not special either: then destinations decide.
        """
        towards_any = source.as_source & self._any_destination
        if not (source.full or source.pending or towards_any & ~self._any_source):
            return None
        return self._number(towards_any, _default(source, CompiledSide(0, 0)))

    def to_destination(self, destination: CompiledSide) -> int:
        """Return the contract towards a destination from sources that no rule singles out."""
        from_any = destination.as_destination & self._any_source
        return self._number(from_any, _default(CompiledSide(0, 0), destination))

    def contract(self, number: int) -> Contract:
        """Return a contract that this pairing has numbered."""
        return self._contracts[number]

    def _number(self, mask: int, default: Default) -> int:
        number = self._memo.get((mask, default))
        if number is None:
            chosen = self._chosen(mask)
            self._work += 25 + 10 * len(chosen)
            contract = flatten(chosen, default)
            number = self._book.get(contract)
            if number is None or number not in self._contracts:
                number = self._book.acquire(contract)
                self._contracts[number] = contract
            self._memo[mask, default] = number
            self._memoized.setdefault(number, []).append((mask, default))
        return number

    def take_work(self) -> int:
        """Return the units of the work on new contracts since the last call."""
        work, self._work = self._work, 0
        return work

    def release(self, number: int) -> None:
        """Give back the number of a contract that no pair uses any more."""
        for key in self._memoized.pop(number):
            del self._memo[key]
        self._book.release(self._contracts.pop(number))

    def close(self) -> Iterator[int]:
        """Give back all numbers; the pairing is not to be used any more."""
        for number in tuple(self._contracts):
            self.release(number)
            yield 1
        while self._texts:
            self._rule_numbers.release(self._texts.pop())
            yield 1

    def _chosen(self, mask: int) -> list[NumberedRule]:
        return [self.rules[bit] for bit in _bits(mask)]

    def _rules_in(self, zone: str) -> int:
        return self._zones.get(EVERYWHERE, 0) | self._zones.get(zone, 0)


def _mask(bits: Iterable[int]) -> int:
    """Return the number with these bits set, without a number of ten thousand bits for each of
    them."""
    found = bytearray()
    for bit in bits:
        place = bit >> 3
        if place >= len(found):
            found.extend(bytes(place + 1 - len(found)))
        found[place] |= 1 << (bit & 7)
    return int.from_bytes(found, "little")


def _bits(mask: int) -> Iterator[int]:
    """Yield the places of the bits that are set: a pair is meant by few of ten thousand rules, and
    shifting a mask of so many bits once for each rule took most of a compilation."""
    digits = bin(mask)[:1:-1]
    place = digits.find("1")
    while place >= 0:
        yield place
        place = digits.find("1", place + 1)


def _default(source: CompiledSide, destination: CompiledSide) -> Default:
    if source.pending or destination.pending:
        return UNTRUSTED
    if source.full or destination.full:
        return CLOSED
    return Default(OPEN.verdict, destination.denied) if destination.denied else OPEN


def posture(modes: Modes, zone: str, membership: Membership) -> tuple[bool, frozenset[Service]]:
    """Return whether everything, and which services, are denied by default.

    Modes of groups replace that of the VRF; of several groups the strictest holds, and the
    services of several selective ones add up.
    """
    settings: list[ModeSetting] = []
    if membership.standing is EndpointKind.WORKLOAD:
        settings = [modes.groups[name] for name in membership.names if name in modes.groups]
    settings = settings or [modes.vrfs.get(zone, modes.default)]
    if any(setting.mode is Mode.FULL for setting in settings):
        return True, frozenset()
    return False, frozenset(s for setting in settings for s in setting.services)


def rule_text(rule: Rule, twins: dict[str, int]) -> str:
    """Return what the number of a rule is given by; twins, counted here, differ by their place."""
    text = rule.meaning
    twins[text] = twins.get(text, 0) + 1
    return f"{text} #{twins[text]}"
