"""Ends established flows that the enforced tables do not allow any more.

The kernel does not judge a flow again that was allowed once. After a policy narrows, or the groups
at an address change, the flows of that VRF or address are read, compared with the tables and ended.
The addresses are kept until that is done: a failed read or a failed end is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from controlplane.model.effects import EndFlows, ReadFlows
from controlplane.model.events import FlowsEnded, FlowsRead
from controlplane.model.flow import LiveFlow
from controlplane.model.prefix import IPAddress, Prefix
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Packet
from controlplane.policy.acknowledgements import MapAcknowledgements
from controlplane.policy.compile.reader import Reader
from controlplane.policy.state import PolicyState
from controlplane.policy.turn import Turn

DELAY = 0.05
"""Seconds that changes gather before established flows are compared with the tables."""

PAUSE = 4
"""The next pass over a VRF waits this many times as long as the last one took."""

RETRY_SECONDS = 1.0
SOON = 1e-6
ANSWER_SECONDS = 20.0
"""So long an answer waits for flows that cannot be ended; their revocation goes on."""

FLOWS_AT_ONCE = 1_000
"""Flows compared with the tables in one iteration."""

PASSES_AT_ONCE = 4
"""VRFs whose flows are read at the same time: each read walks the kernel's whole table."""

ENDS_AT_MOST = 16
"""Flows of up to this many addresses are read one by one; of more, those of the whole VRF."""


@dataclass(slots=True)
class _Work:
    """What is to be compared in a VRF. ``places`` empty means the whole VRF."""

    places: set[Prefix] = field(default_factory=set)
    whole: bool = False
    due: float = 0.0
    needs: int = 0
    tokens: set[int] = field(default_factory=set)

    def merge(self, other: _Work) -> None:
        self.places |= other.places
        self.whole |= other.whole
        self.due = min(self.due, other.due)
        self.needs = max(self.needs, other.needs)
        self.tokens |= other.tokens


@dataclass(slots=True)
class _Pass:
    """One pass over a VRF: flows that were read and are not compared yet."""

    work: _Work
    began: float
    flows: list[LiveFlow] = field(default_factory=list)
    is_waiting: bool = True
    ended: int = 0


@dataclass(slots=True)
class _Token:
    """A request that waits for the end of the passes over these VRFs."""

    vrfs: set[str]
    due: float
    done: Callable[[int], None]
    ended: int = 0


class FlowRevocation:
    """Of one node. A pass begins once the kernel holds the policy maps that it is about."""

    def __init__(self, turn: Turn, state: PolicyState, maps: MapAcknowledgements) -> None:
        self._turn, self._state, self._maps = turn, state, maps
        self._queued: dict[str, _Work] = {}
        self._passes: dict[str, _Pass] = {}
        self._tokens: dict[int, _Token] = {}
        self._last_token = 0
        self._pause: dict[str, float] = {}
        self._failing: set[str] = set()
        self._reader: tuple[int, Reader] | None = None

    @property
    def has_work(self) -> bool:
        """True while flows wait to be compared with the tables."""
        return bool(self._queued or self._passes)

    def failing(self) -> list[str]:
        """Return in which VRFs flows that are forbidden may go on, a sentence each."""
        return [
            f"Forbidden flows of VRF {vrf} are not ended: see flow_revocation_failed in the journal"
            for vrf in sorted(self._failing)
        ]

    def soon(self, vrf: str, places: Iterable[Prefix]) -> None:
        """Compare the flows of these places in a moment: their groups changed."""
        if not self._state.begun:  # the kernel still judges by what a former process gave it
            return
        places = set(places)
        wait = max(DELAY, self._pause.get(vrf, 0.0))
        work = _Work(places, not places, self._turn.now.monotonic + wait, self._maps.number)
        self._queue(vrf, work)

    def everything(self, done: Callable[[int], None]) -> None:
        """Compare all flows under policy; ``done`` gets the number of flows that were ended."""
        now = self._turn.now.monotonic
        vrfs = set(self._state.zones)
        if not vrfs:
            done(0)
            return
        self._last_token += 1
        self._tokens[self._last_token] = _Token(vrfs, now + ANSWER_SECONDS, done)
        for vrf in sorted(vrfs):
            self._queue(
                vrf, _Work(whole=True, due=now, needs=self._maps.number, tokens={self._last_token})
            )

    def _queue(self, vrf: str, work: _Work) -> None:
        if vrf in self._queued:
            self._queued[vrf].merge(work)
        else:
            self._queued[vrf] = work

    # -- what came back -----------------------------------------------------------------------

    def read(self, event: FlowsRead) -> None:
        """Take in the flows of a VRF, or that they could not be read."""
        current = self._passes[event.vrf]
        if event.error:
            self._retry(event.vrf, event.error)
            return
        current.flows, current.is_waiting = list(event.flows), False

    def ended(self, event: FlowsEnded) -> None:
        """Take in how many flows were ended, or why not."""
        current = self._passes[event.vrf]
        current.ended += event.ended
        if (queued := self._queued.get(event.vrf)) is not None:
            # Compared with the tables as they are now: the queued pass will not find them again.
            self._count(queued.tokens, event.vrf, event.ended, is_over=False)
        if event.error:
            self._retry(event.vrf, event.error)
            return
        current.is_waiting = False

    def _retry(self, vrf: str, error: str) -> None:
        """Begin the pass anew later: what was to be compared is not lost by one failure."""
        failed = self._passes.pop(vrf)
        self._count(failed.work.tokens, vrf, failed.ended, is_over=False)
        failed.work.due = self._turn.now.monotonic + RETRY_SECONDS
        self._queue(vrf, failed.work)
        if vrf not in self._failing:
            self._failing.add(vrf)
            self._turn.notice("error", "flow_revocation_failed", vrf=vrf, reason=error)

    # -- the turn -----------------------------------------------------------------------------

    def look(self) -> None:
        """Begin the passes that are due, and compare one batch of flows."""
        if not (self._queued or self._passes or self._tokens):
            return
        now = self._turn.now.monotonic
        due = [v for v, work in self._ready() if work.due <= now]
        for vrf in due[: PASSES_AT_ONCE - len(self._passes)]:
            self._begin(vrf, self._queued.pop(vrf))
        ready = next((v for v, each in self._passes.items() if not each.is_waiting), None)
        if ready is not None:
            self._compare(ready, self._passes[ready])
        for number in [n for n, token in self._tokens.items() if token.due <= now]:
            token = self._tokens.pop(number)
            token.done(token.ended)

    def _ready(self) -> Iterator[tuple[str, _Work]]:
        """Yield what only time keeps waiting."""
        if len(self._passes) >= PASSES_AT_ONCE:
            return
        for vrf, work in self._queued.items():
            if work.needs <= self._maps.released and vrf not in self._passes:
                yield vrf, work

    def _begin(self, vrf: str, work: _Work) -> None:
        if vrf not in self._state.zones:  # no longer under policy: nothing there is forbidden
            self._count(work.tokens, vrf, 0, is_over=True)
            return
        self._passes[vrf] = _Pass(work, self._turn.now.monotonic)
        self._turn.act(ReadFlows(vrf, () if work.whole else _few_ends(work.places)))

    def _compare(self, vrf: str, current: _Pass) -> None:
        part, current.flows = current.flows[:FLOWS_AT_ONCE], current.flows[FLOWS_AT_ONCE:]
        reader = self._tables() if vrf in self._state.zones else None
        forbidden = tuple(flow for flow in part if reader and _is_forbidden(reader, flow))
        if forbidden:
            current.is_waiting = True
            self._turn.act(EndFlows(vrf, forbidden))
        elif not current.flows:
            self._finish(vrf)

    def _finish(self, vrf: str) -> None:
        done = self._passes.pop(vrf)
        self._pause[vrf] = PAUSE * (self._turn.now.monotonic - done.began)
        self._failing.discard(vrf)
        if done.ended:
            self._turn.notice("info", "flows_ended", vrf=vrf, flows=done.ended)
        self._count(done.work.tokens, vrf, done.ended, is_over=True)

    def _count(self, tokens: set[int], vrf: str, ended: int, *, is_over: bool) -> None:
        for number in sorted(tokens):
            token = self._tokens.get(number)
            if token is None:  # its caller was answered already
                continue
            token.ended += ended
            if is_over:
                token.vrfs.discard(vrf)
            if not token.vrfs:
                del self._tokens[number]
                token.done(token.ended)

    def _tables(self) -> Reader | None:
        """Look up in the enforced tables as they are now; they may have changed since the read."""
        compiler = self._state.compiler(Slot.ENFORCED)
        if compiler is None:
            return None
        if self._reader is None or self._reader[0] != self._state.version:
            self._reader = (self._state.version, Reader(compiler.tables))
        return self._reader[1]

    def deadlines(self) -> Iterator[float]:
        """Yield when ``look`` has something to do; what waits for an event is not among it."""
        soon = self._turn.now.monotonic + SOON
        if any(not each.is_waiting for each in self._passes.values()):
            yield soon
        # Work that came in this turn is due already, and `look` has passed.
        yield from (max(work.due, soon) for _, work in self._ready())
        yield from (token.due for token in self._tokens.values())


def _is_forbidden(reader: Reader, flow: LiveFlow) -> bool:
    kind = max(flow.icmp_type, 0)
    packet = Packet(flow.source.version, flow.protocol, flow.dport, kind, flow.sport)
    judge = reader.older_verdict if flow.older else reader.verdict
    return not judge(flow.vrf, flow.source, flow.destination, packet).allowed


def _few_ends(places: Collection[Prefix]) -> tuple[IPAddress, ...]:
    """Return the addresses, if they are few and no networks; else nothing, which stands for all."""
    if len(places) > ENDS_AT_MOST or any(p.length < p.afi.bits for p in places):
        return ()
    return tuple(ip_address(place.packed) for place in sorted(places))
