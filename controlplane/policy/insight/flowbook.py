"""Flows that were seen, gathered by ends and service, in bounded memory with exact losses.

What is allowed and what is denied have room of their own, so that somebody who scans, and is
denied, cannot push out of memory what the company does every day.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.model.flow import FlowRecord
from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import PORT_PROTOCOLS, highest_point
from controlplane.model.verdict import ALLOW_BIT, RULE_MASK
from controlplane.model.workload import Packet
from controlplane.policy.language.service import Service

ROOM = 100_000
"""Flows remembered of each kind."""

WATCH_ROOM = 2_000
"""Flows that wait for a slow watcher."""

NameRule = Callable[[int], str]


class FlowVerdict(NamedTuple):
    """A verdict and the id of its rule."""

    allowed: bool
    rule: str


@dataclass(slots=True)
class Seen:
    """One kind of flow. Times are Unix time; `sport` is that of the latest."""

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
        """For what-if and the recommender."""
        ends = (self.vrf, self.source, self.destination, self.packet)
        return Flow(*ends, self.count, self.first, self.last, self.enforced.allowed)


_Key = tuple[str, IPAddress, IPAddress, int, int]


@dataclass(slots=True)
class Watcher:
    """Somebody who follows; `skipped` counts what he was too slow for."""

    skipped: int = 0
    _waiting: deque[Seen] = field(default_factory=deque)
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, seen: Seen) -> None:
        """One more flow."""
        if len(self._waiting) >= WATCH_ROOM:
            self._waiting.popleft()
            self.skipped += 1
        self._waiting.append(seen)
        self._filled.set()

    async def next(self) -> Seen:
        """The next flow, in the order in which they were seen."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()


class FlowBook:
    """`room` is the number of flows kept, of those allowed and of those denied."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._allowed: OrderedDict[_Key, Seen] = OrderedDict()
        self._denied: OrderedDict[_Key, Seen] = OrderedDict()
        self._watchers: list[Watcher] = []
        self.lost = 0
        self.last_lost = 0.0

    def take(
        self, records: Sequence[FlowRecord], lost: int, now: float, name: NameRule,
        name_staged: NameRule,
    ) -> None:  # fmt: skip
        """New flows; `lost` are those that nobody can tell about any more."""
        for record in records:
            self._note(record, name, name_staged)
        self._lose(lost, now)
        for held in (self._allowed, self._denied):
            while len(held) > self._room:
                _, oldest = held.popitem(last=False)
                self._lose(oldest.count, now)

    def seen(self, since: float = 0.0, until: float = float("inf")) -> Iterator[Seen]:
        """Flows of a span of time, in no order; take a list if anything is awaited meanwhile."""
        for held in (self._allowed, self._denied):
            for each in held.values():
                if each.last >= since and each.first <= until:
                    yield each

    def watch(self) -> Watcher:
        """Follow from now on; `leave` at the end."""
        watcher = Watcher()
        self._watchers.append(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Follow no more."""
        self._watchers.remove(watcher)

    def _note(self, record: FlowRecord, name: NameRule, name_staged: NameRule) -> None:
        enforced = _ruling(record.enforced, name)
        staged = None if record.staged is None else _ruling(record.staged, name_staged)
        held = self._allowed if enforced.allowed else self._denied
        point = _point(record)
        key = (record.vrf, record.source, record.destination, record.protocol, point)
        known = held.get(key)
        if known is None:
            held[key] = known = Seen(*key, 0, record.at, record.at, 0, enforced, staged)
        held.move_to_end(key)
        known.count += 1
        known.first, known.last = min(known.first, record.at), max(known.last, record.at)
        known.sport, known.enforced, known.staged = record.sport, enforced, staged
        for watcher in self._watchers:
            once = Seen(*key, 1, record.at, record.at, record.sport, enforced, staged)
            watcher.tell(once)

    def _lose(self, count: int, now: float) -> None:
        if count:
            self.lost += count
            self.last_lost = now


def _point(record: FlowRecord) -> int:
    if record.protocol in PORT_PROTOCOLS:
        return record.dport
    return min(max(record.icmp_type, 0), highest_point(record.protocol))


def _ruling(word: int, name: NameRule) -> FlowVerdict:
    return FlowVerdict(bool(word & ALLOW_BIT), name(word & RULE_MASK))
