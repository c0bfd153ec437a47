"""Keep flow records, gathered by ends, service and rule, in bounded memory with exact loss counts.

A record is kept as of its judgement: the rule that decided, and who had the addresses. What another
rule decided, or what others had the addresses of, is another kind of flow.

Allowed and denied flows have room of their own: a scan, which is denied, does not displace the
allowed flows of every day.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controlplane.model.flow import FlowRecord
from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import PORT_PROTOCOLS, highest_point
from controlplane.model.verdict import ALLOW_BIT, LOG_BIT, RULE_MASK
from controlplane.model.workload import Packet
from controlplane.policy.endpoints.held import UNHELD, FindHolders, Held, unheld
from controlplane.policy.insight.rule_names import NameRule
from controlplane.policy.language.service import Service

ROOM = 100_000
"""Flows kept of each kind."""


class FlowVerdict(NamedTuple):
    """A verdict, the id of its rule as it was then, and whether a log rule matched.

    `revision` and `meaning` as in `RuleName`.
    """

    allowed: bool
    rule: str
    logged: bool = False
    revision: str = ""
    meaning: bytes = b""


@dataclass(slots=True)
class Seen:
    """One kind of flow. Times are Unix time; `sport` is that of the latest record.

    `enforced` is the verdict on the latest one: all had the same rule, if not under the same id.
    `staged_count` is how many of them had the verdict `staged`.
    `older`: no packet of it was seen that opened it, so it proves no flow in this direction.
    `key` differs for flows that differ in anything but times and counts. `touched` is the number of
    the record that changed it last: numbers grow through the book.
    """

    vrf: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    point: int
    count: int
    first: float
    last: float
    sport: int
    enforced: FlowVerdict
    staged: FlowVerdict | None
    older: bool = False
    staged_count: int = 0
    source_held: Held = UNHELD
    destination_held: Held = UNHELD
    key: bytes = b""
    touched: int = 0

    @property
    def service(self) -> Service:
        """What was asked for."""
        return Service(self.protocol, self.point, self.point)

    @property
    def packet(self) -> Packet:
        """The packet that opened the latest one, as a policy looks at it."""
        ported = self.protocol in PORT_PROTOCOLS
        return Packet(
            self.source.version,
            self.protocol,
            dport=self.point if ported else 0,
            icmp_type=0 if ported else self.point,
            sport=self.sport,
        )

    def observed(self) -> Flow:
        """Return the flow as what-if and the recommender take it."""
        ends = (self.vrf, self.source, self.destination, self.packet)
        return Flow(*ends, self.count, self.first, self.last, self.enforced.allowed)


_Key = bytes
_REST = struct.Struct("!Bi?I")
OnFlow = Callable[[Seen], None]


class FlowBook:
    """`room` is the number of flows kept, of those allowed and of those denied."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._allowed: OrderedDict[_Key, Seen] = OrderedDict()
        self._denied: OrderedDict[_Key, Seen] = OrderedDict()
        self._watchers: list[OnFlow] = []
        self._log_watchers: list[OnFlow] = []
        self.latest = 0
        """The number of the latest record."""
        self.lost = 0
        self.last_lost = 0.0

    def take(
        self, records: Sequence[FlowRecord], lost: int, now: float, name: NameRule,
        name_staged: NameRule, find: FindHolders = unheld,
    ) -> None:  # fmt: skip
        """Add records; `lost` is the number of records that were lost before they came here."""
        for record in records:
            self._note(record, name, name_staged, find)
        self._lose(lost, now)
        for held in (self._allowed, self._denied):
            while len(held) > self._room:
                _, oldest = held.popitem(last=False)
                self._lose(oldest.count, now)

    def seen(self, since: float = 0.0, until: float = float("inf")) -> Iterator[Seen]:
        """Yield flows of a span of time, in no order; take a list if anything is awaited
        meanwhile."""
        for held in (self._allowed, self._denied):
            for each in held.values():
                if each.last >= since and each.first <= until:
                    yield each

    def touched_since(self, number: int, *, allowed: bool) -> list[Seen]:
        """Return flows of a kind that changed after record `number`, those that changed first
        first.

        Looks at these alone: each kind is in the order of its last change.
        """
        held = self._allowed if allowed else self._denied
        return _touched_since(held, number) if number else list(held.values())

    def watch(self, on_flow: OnFlow) -> None:
        """Call `on_flow` for each record from now on, until `leave`."""
        self._watchers.append(on_flow)

    def watch_logged(self, on_flow: OnFlow) -> None:
        """Call `on_flow` for each record of a flow that a log rule matched."""
        self._log_watchers.append(on_flow)

    def leave(self, on_flow: OnFlow) -> None:
        """End a watch."""
        self._watchers.remove(on_flow)

    def _note(
        self, record: FlowRecord, name: NameRule, name_staged: NameRule, find: FindHolders
    ) -> None:
        enforced = _ruling(record.enforced, record.at, name)
        staged = None if record.staged is None else _ruling(record.staged, record.at, name_staged)
        kinds = self._allowed if enforced.allowed else self._denied
        ends = find(record.vrf, record.source), find(record.vrf, record.destination)
        point = _point(record)
        what = (record.vrf, record.source, record.destination, record.protocol, point)
        key = _key(record, point, ends)

        def kind() -> Seen:
            at, sport, older = record.at, record.sport, record.older
            return Seen(*what, 0, at, at, sport, enforced, staged, older, 0, *ends, key)

        known = kinds.get(key)
        if known is None:
            kinds[key] = known = kind()
        kinds.move_to_end(key)
        _add(known, record, enforced, staged)
        self.latest += 1
        known.touched = self.latest
        watchers = [*self._watchers, *self._log_watchers] if enforced.logged else self._watchers
        for on_flow in watchers:
            alone = kind()
            _add(alone, record, enforced, staged)
            on_flow(alone)

    def _lose(self, count: int, now: float) -> None:
        if count:
            self.lost += count
            self.last_lost = now


def _touched_since(held: OrderedDict[_Key, Seen], number: int) -> list[Seen]:
    found: list[Seen] = []
    for seen in reversed(held.values()):
        if seen.touched <= number:
            break
        found.append(seen)
    found.reverse()
    return found


def _add(
    known: Seen, record: FlowRecord, enforced: FlowVerdict, staged: FlowVerdict | None
) -> None:
    known.count += 1
    known.first, known.last = min(known.first, record.at), max(known.last, record.at)
    if staged != known.staged:
        known.staged_count = 0
    known.staged_count += staged is not None
    known.sport, known.enforced, known.staged = record.sport, enforced, staged
    known.older = known.older and record.older


def _key(record: FlowRecord, point: int, ends: tuple[Held, Held]) -> _Key:
    """Return the key of a kind of flow. Bytes keep their hash: an ordered dictionary of 100,000
    computes all of them again whenever it is walked through, and addresses are slow to hash.

    The number of a rule stands for its meaning (`rule_book`)."""
    rule, logged = record.enforced & RULE_MASK, bool(record.enforced & LOG_BIT)
    told = record.source.packed + record.destination.packed
    told += _REST.pack(record.protocol, point, logged, rule)
    return b"\0".join((record.vrf.encode(), told + ends[0].token + ends[1].token))


def _point(record: FlowRecord) -> int:
    if record.protocol in PORT_PROTOCOLS:
        return record.dport
    return min(max(record.icmp_type, 0), highest_point(record.protocol))


def _ruling(word: int, at: float, name: NameRule) -> FlowVerdict:
    rule = name(word & RULE_MASK, at)
    bits = bool(word & ALLOW_BIT), bool(word & LOG_BIT)
    return FlowVerdict(bits[0], rule.id, bits[1], rule.revision, rule.meaning)


def has_changed_hands(seen: Seen, holders: FindHolders) -> bool:
    """Return whether an address that a workload here had belongs to another one now."""
    for address, held in (
        (seen.source, seen.source_held), (seen.destination, seen.destination_held),
    ):  # fmt: skip
        if names := held.names:
            now = holders(seen.vrf, address).names
            if now and not names & now:
                return True
    return False


def merged(flows: Iterable[Seen], into: dict[bytes, Flow]) -> None:
    """Add flows as what-if and the recommender take them: those of the same ends, service and
    permission are one, whichever rules decided."""
    for seen in flows:
        ends = seen.source.packed + seen.destination.packed
        rest = _REST.pack(seen.protocol, seen.point, seen.enforced.allowed, 0)
        key = b"\0".join((seen.vrf.encode(), ends + rest))
        flow, known = seen.observed(), into.get(key)
        if known is not None:
            latest = max(flow, known, key=lambda each: each.last)
            first, hits = min(flow.first, known.first), flow.hits + known.hits
            flow = replace(latest, first=first, hits=hits)
        into[key] = flow
