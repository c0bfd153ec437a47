"""Carry out the router's effects, in the order that security needs.

Make durable, take back, kernel, give, answer: nothing is advertised that is not guarded, nothing
is answered that is not done. A cancelled caller changes nothing here; what fails comes back to the
router as an event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from controlplane.model.attachment import Attachment
from controlplane.model.desired import Delta
from controlplane.model.effects import (
    Announce,
    Answer,
    ChangeSourceBindings,
    ChangeTables,
    ConfigureSpeakers,
    Effect,
    Effects,
    EndFlows,
    ExpectVerdicts,
    ForgetAttachment,
    LogEvent,
    PolicyMaps,
    PublishWorkload,
    ReadFlows,
    RequestRefresh,
    ResetSession,
    Save,
    SaveAttachment,
    SaveBaseline,
    SaveHistory,
    SaveLabels,
    SaveLedger,
    SendEndOfRib,
    SetSourceBindings,
    SetTables,
    SetZones,
    Withdraw,
)
from controlplane.model.events import (
    Event,
    FlowsEnded,
    FlowsRead,
    PolicyMapsHeld,
    PolicyMapsRefused,
    StoreFailed,
    StoreWritten,
)
from controlplane.model.flow import LiveFlow
from controlplane.model.intent import PeerIntent
from controlplane.model.log import Log
from controlplane.model.prefix import IPAddress
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.supervision import Part
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta
from controlplane.store import Store, StoreError

TAKEN_BACK, GIVEN = (Withdraw, ResetSession), (Announce, SendEndOfRib, RequestRefresh)


class DataPlane(Protocol):
    """Program the data plane (``pe.dataplane.reconciler``)."""

    def submit(self, delta: Delta, number: int = 0) -> None:
        """Take over a change of what is desired; never blocks. ``VrfsHeld`` reports its VRFs under
        this number, 0: they are not reported."""

    def mark_in_sync(self) -> None:
        """Remove what is ours and not desired by now: a former run left it behind."""


class MapManager(Protocol):
    """Program the policy maps (``pe.policy.manager``)."""

    def zones(self, zones: dict[str, int]) -> None:
        """Have these VRFs, and no others, under policy."""

    def submit(self, slot: Slot, tables: Tables | None) -> None:
        """Have a slot hold these tables."""

    def submit_delta(self, slot: Slot, delta: TablesDelta) -> None:
        """Change a slot."""

    def submit_bindings(self, bindings: SourceBindings) -> None:
        """Replace all source bindings."""

    def submit_bindings_delta(self, delta: TablesDelta) -> None:
        """Change the source bindings."""

    def mark(self, number: int) -> None:
        """Acknowledge all changes submitted so far under this number."""

    def on_acknowledged(self, report: Callable[[int, str], None]) -> None:
        """Report each number that the kernel holds (reason "") or refuses."""

    async def live(self, vrf: str, ends: Collection[IPAddress] = ()) -> Sequence[LiveFlow]:
        """Return the established flows of a VRF; with ``ends``, those from or to one."""

    async def end(self, flows: Sequence[LiveFlow]) -> int:
        """End these flows; return how many were there to end."""


class Gate(Protocol):
    """Keep VRFs closed until their verdict tables are loaded (``pe.policy.verdict_gate``)."""

    def close(self, vrfs: frozenset[str]) -> None:
        """Have these VRFs open guarded."""

    def keep(self, vrfs: Collection[str]) -> None:
        """Forget closed VRFs that are not among these."""


class Speakers(Protocol):
    """Command the BGP processes (``controlplane.speaker.pool``)."""

    def configure(self, peers: Mapping[str, tuple[PeerIntent, ...]], restart_time: int) -> None:
        """Have these sessions, and no others, in these VRFs."""

    def perform(self, actions: Sequence[Effect]) -> None:
        """Send these messages to the peers, in order."""

    async def stop(self) -> None:
        """Stop; the kernel's state stays."""


class Executor:
    """Execute effects of one node. ``emit`` puts events into the router's queue."""

    def __init__(
        self, store: Store, dataplane: DataPlane, maps: MapManager, gate: Gate,
        speakers: Speakers, *, emit: Callable[[list[Event]], None], log: Log,
        part: Part, answer: Callable[[Answer], None], publish: Callable[[str, Attachment], None],
    ) -> None:  # fmt: skip
        self._store, self._dataplane, self._speakers = store, dataplane, speakers
        self._maps, self._gate = maps, gate
        self._emit, self._log = emit, log
        self._answer, self._publish = answer, publish
        self._sessions: dict[str, tuple[PeerIntent, ...]] = {}  # by VRF, none empty
        self._restart_time = 0
        self._is_in_sync = False
        self._part = part
        maps.on_acknowledged(self._acknowledged)

    def perform(self, effects: Effects) -> StoreWritten | StoreFailed | None:
        """Carry out effects; return the outcome of what was to be saved, None if nothing was.

        Nothing else in the same effects depends on what is to be saved. It waits for nothing: what
        depends on the kernel is an effect of the turn in which the kernel reports.
        """
        actions = effects.actions
        if not actions:  # as in most turns of a full table that comes in
            self._program(effects)
            outcome = None
        else:
            outcome = self._act(effects)
        if effects.in_sync and not self._is_in_sync:
            self._is_in_sync = True
            self._dataplane.mark_in_sync()
        return outcome

    def _act(self, effects: Effects) -> StoreWritten | StoreFailed | None:
        actions = effects.actions
        for action in actions:
            if isinstance(action, LogEvent):
                self._log(action.level, action.event, action.fields)
        outcome = self._make_durable([a for a in actions if isinstance(a, Save)])
        self._take_back(actions)
        self._program(effects)
        self._give(actions)
        for action in actions:
            self._reply(action)
        return outcome

    # -- durable ------------------------------------------------------------------------------

    def _make_durable(self, saves: Sequence[Save]) -> StoreWritten | StoreFailed | None:
        for number, save in enumerate(saves):
            try:
                self._save(save)
            except StoreError as error:
                self._log("error", "store_failed", {"reason": str(error)})
                return StoreFailed(str(error), number)
        return StoreWritten() if saves else None

    def _save(self, save: Save) -> None:
        store = self._store
        match save:
            case SaveLabels():
                store.save_labels(save)
            case SaveAttachment(attachment, change):
                store.save_attachment(attachment, change)
            case ForgetAttachment(name, change, lost, now, hold_down):
                store.forget_attachment(name, change, lost, now, hold_down)
            case SaveHistory(changes):
                store.save_changes(changes)
            case SaveLedger(before, after):
                store.save_ledger(before, after)
            case SaveBaseline(baseline):
                store.save_baseline(baseline)

    # -- take back ----------------------------------------------------------------------------

    def _take_back(self, actions: Sequence[Effect]) -> None:
        # A peer receives why its session ends before the end itself (RFC 4486 section 4).
        self._speakers.perform([a for a in actions if isinstance(a, TAKEN_BACK)])
        if configured := _configured(actions):
            self._close_sessions(configured.peers)

    def _close_sessions(self, wanted: Mapping[str, tuple[PeerIntent, ...]]) -> None:
        """End a session before its guard goes (security requirement ACL-7)."""
        fewer: dict[str, tuple[PeerIntent, ...]] = {}
        for vrf, peers in wanted.items():
            names, present = {peer.peer for peer in peers}, self._sessions.get(vrf, ())
            staying = tuple(peer for peer in present if peer.peer in names)
            if len(staying) < len(present):
                fewer[vrf] = staying
        if fewer:
            # With the restart time that they have: another one would reopen them all.
            self._speakers.configure(fewer, self._restart_time)

    # -- kernel -------------------------------------------------------------------------------

    def _program(self, effects: Effects) -> None:
        """Submit the kernel's part; requests that wait for it wait for its acknowledgement."""
        for action in effects.actions:
            if isinstance(action, PolicyMaps):
                self._change_maps(action)
        if effects.maps:
            self._maps.mark(effects.maps)
        if effects.delta:
            self._dataplane.submit(effects.delta, effects.structure)

    def _change_maps(self, change: PolicyMaps) -> None:
        maps = self._maps
        match change:
            case ExpectVerdicts(vrfs):
                self._gate.close(vrfs)
            case SetZones(zones):
                self._gate.keep(zones.keys())
                maps.zones(dict(zones))
            case SetTables(slot, tables):
                maps.submit(slot, tables)
            case ChangeTables(slot, delta):
                maps.submit_delta(slot, delta)
            case SetSourceBindings(bindings):
                maps.submit_bindings(bindings)
            case ChangeSourceBindings(delta):
                maps.submit_bindings_delta(delta)

    def _acknowledged(self, number: int, reason: str) -> None:
        held = PolicyMapsRefused(number, reason) if reason else PolicyMapsHeld(number)
        self._emit([held])

    # -- give ---------------------------------------------------------------------------------

    def _give(self, actions: Sequence[Effect]) -> None:
        if configured := _configured(actions):
            for vrf, peers in configured.peers.items():
                self._sessions.pop(vrf, None)
                if peers:
                    self._sessions[vrf] = peers
            self._restart_time = configured.restart_time
            self._speakers.configure(configured.peers, self._restart_time)
        self._speakers.perform([a for a in actions if isinstance(a, GIVEN)])

    # -- answer -------------------------------------------------------------------------------

    def _reply(self, action: Effect) -> None:
        match action:
            case Answer():
                self._answer(action)
            case PublishWorkload(change, attachment):
                self._publish(change, attachment)
            case ReadFlows(vrf, ends):
                self._part.spawn(self._read_flows(vrf, ends))
            case EndFlows(vrf, flows):
                self._part.spawn(self._end_flows(vrf, flows))
            case _:
                pass

    async def _read_flows(self, vrf: str, ends: tuple[IPAddress, ...]) -> None:
        try:
            flows = await self._maps.live(vrf, ends)
        except Exception as error:  # after any error the revocation is tried again
            self._emit([FlowsRead(vrf, (), repr(error))])
        else:
            self._emit([FlowsRead(vrf, tuple(flows))])

    async def _end_flows(self, vrf: str, flows: tuple[LiveFlow, ...]) -> None:
        try:
            ended = await self._maps.end(flows)
        except Exception as error:  # as above
            self._emit([FlowsEnded(vrf, 0, repr(error))])
        else:
            self._emit([FlowsEnded(vrf, ended)])


def _configured(actions: Sequence[Effect]) -> ConfigureSpeakers | None:
    """Return the sessions that a turn wants in the end; of a VRF its last word counts."""
    found = [action for action in actions if isinstance(action, ConfigureSpeakers)]
    if not found:
        return None
    peers = {vrf: peers for each in found for vrf, peers in each.peers.items()}
    return ConfigureSpeakers(peers, found[-1].restart_time)
