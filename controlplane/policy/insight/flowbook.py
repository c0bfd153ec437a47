"""Keep flow records, gathered by ends and service, in bounded memory with an exact loss count.

Allowed and denied flows have room of their own: a scan, which is denied, does not displace the
allowed flows of every day.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.flow import FlowRecord
from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import PORT_PROTOCOLS, highest_point
from controlplane.model.verdict import ALLOW_BIT, RULE_MASK
from controlplane.model.workload import Packet
from controlplane.policy.language.service import Service

ROOM = 100_000
"""Flows kept of each kind."""

NameRule = Callable[[int], str]


class FlowVerdict(NamedTuple):
    """A verdict and the id of its rule."""

    allowed: bool
    rule: str


@dataclass(slots=True)
class Seen:
    """One kind of flow. Times are Unix time; `sport` is that of the latest record.

    `older`: no packet of it was seen that opened it, so it proves no flow in this direction.
    `touched` is the number of the record that changed it last: numbers grow through the book.
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
_REST = struct.Struct("!Bi")
OnFlow = Callable[[Seen], None]


class FlowBook:
    """`room` is the number of flows kept, of those allowed and of those denied."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._allowed: OrderedDict[_Key, Seen] = OrderedDict()
        self._denied: OrderedDict[_Key, Seen] = OrderedDict()
        self._watchers: list[OnFlow] = []
        self.latest = 0
        """The number of the latest record."""
        self.lost = 0
        self.last_lost = 0.0

    def take(
        self, records: Sequence[FlowRecord], lost: int, now: float, name: NameRule,
        name_staged: NameRule,
    ) -> None:  # fmt: skip
        """Add records; `lost` is the number of records that were lost before they came here."""
        for record in records:
            self._note(record, name, name_staged)
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

    def leave(self, on_flow: OnFlow) -> None:
        """End a watch."""
        self._watchers.remove(on_flow)

    def _note(self, record: FlowRecord, name: NameRule, name_staged: NameRule) -> None:
        enforced = _ruling(record.enforced, name)
        staged = None if record.staged is None else _ruling(record.staged, name_staged)
        held = self._allowed if enforced.allowed else self._denied
        point = _point(record)
        what = (record.vrf, record.source, record.destination, record.protocol, point)
        key = _key(*what)
        known = held.get(key)
        if known is None:
            times = record.at, record.at
            held[key] = known = Seen(*what, 0, *times, 0, enforced, staged, record.older)
        held.move_to_end(key)
        known.count += 1
        known.first, known.last = min(known.first, record.at), max(known.last, record.at)
        known.sport, known.enforced, known.staged = record.sport, enforced, staged
        known.older = known.older and record.older
        self.latest += 1
        known.touched = self.latest
        for on_flow in self._watchers:
            times = record.at, record.at
            on_flow(Seen(*what, 1, *times, record.sport, enforced, staged, record.older))

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


def _key(vrf: str, source: IPAddress, destination: IPAddress, protocol: int, point: int) -> _Key:
    """Return the key of a kind of flow. Bytes keep their hash: an ordered dictionary of 100,000
    computes all of them again whenever it is walked through, and addresses are slow to hash."""
    ends = source.packed + destination.packed
    return b"\0".join((vrf.encode(), ends + _REST.pack(protocol, point)))


def _point(record: FlowRecord) -> int:
    if record.protocol in PORT_PROTOCOLS:
        return record.dport
    return min(max(record.icmp_type, 0), highest_point(record.protocol))


def _ruling(word: int, name: NameRule) -> FlowVerdict:
    return FlowVerdict(bool(word & ALLOW_BIT), name(word & RULE_MASK))
