"""The state machine that ties the rooms together: ``handle(events, now) -> effects``.

No socket, no clock, no thread. Events are taken in one by one, decisions are made once for all of
them, so that a flood of changes to one prefix costs one change in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from controlplane.bgp.adj_rib_out import CeRibOut, CoreRibOut
from controlplane.bgp.path import Path, Protocol, Source
from controlplane.bgp.peer_state import QUIET_AFTER_UP, PeerState
from controlplane.instant import Instant
from controlplane.intake import Intake
from controlplane.layout import Layout, difference
from controlplane.model.effects import (
    ConfigureSpeakers,
    Effect,
    Effects,
    Notice,
    RequestRefresh,
    ResetSession,
    SaveLabels,
    SendEndOfRib,
)
from controlplane.model.events import (
    EndOfRib,
    Event,
    IntentChanged,
    PeerCleared,
    PortChanged,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
    TimePassed,
    UnderlayRouteChanged,
    UnderlaySynced,
)
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, Prefix
from controlplane.vpn.hops import NextHopBook
from controlplane.vpn.labels import LabelAllocator, LabelLedger
from controlplane.vpn.underlay import Underlay
from controlplane.vpn.vrf import Vrf

MAX_PREFIX_REACHED = 1  # Cease subcodes, RFC 4486
ADMINISTRATIVE_RESET = 4


class Router:
    """One node's control plane. ``ledger`` is what the store kept of the labels."""

    def __init__(self, ledger: LabelLedger | None = None) -> None:
        self.intent: NodeIntent | None = None
        self.vrfs: dict[str, Vrf] = {}
        self.peers: dict[PeerId, PeerState] = {}
        self.underlay = Underlay()
        self.hops = NextHopBook(self.underlay)
        self.core_out = CoreRibOut()
        self.ce_out: dict[PeerId, CeRibOut] = {}
        self.in_sync = False
        self._ledger = ledger or LabelLedger()
        self._layout: Layout | None = None
        self._underlay_synced = False
        self._sync_deadline = float("inf")
        self._leaked: dict[Path, Path] = {}
        self._effects = Effects()
        self._intake: Intake | None = None

    # -- events -------------------------------------------------------------------------------

    def handle(self, events: Iterable[Event], now: Instant) -> Effects:
        """Take in events and say what follows. Never raises for what a peer sent."""
        self._effects = Effects()
        for event in events:
            self._take(event, now)
        self._expire(now)
        self._decide()
        self._flush()
        self._look_at_sync(now)
        return self._effects

    def _take(self, event: Event, now: Instant) -> None:
        match event:
            case RoutesReceived():
                self._routes_received(event, now.monotonic)
            case RoutesWithdrawn():
                self._routes_withdrawn(event)
            case SessionUp():
                self._session_up(event, now.monotonic)
            case SessionDown():
                self._session_down(event, now.monotonic)
            case SpeakerLost():
                self._speaker_lost(event, now.monotonic)
            case EndOfRib():
                self._end_of_rib(event)
            case RefreshRequested():
                self._replay(event.peer, frozenset({event.family}))
            case UnderlayRouteChanged():
                self._underlay_changed(event)
            case UnderlaySynced():
                self._underlay_synced = True
            case PortChanged():
                self._port_changed(event)
            case IntentChanged():
                self._intent_changed(event.intent, now)
            case PeerCleared():
                self._peer_cleared(event.peer)
            case TimePassed():
                pass
            case _:
                assert_never(event)

    @property
    def next_deadline(self) -> float | None:
        """When ``TimePassed`` should come next, on the monotonic clock; None: nothing is due."""
        times = [t for p in self.peers.values() for t in (p.stale_until, p.held_until) if t]
        if not self.in_sync:
            times.append(self._sync_deadline)
            times += [p.since + QUIET_AFTER_UP for p in self.peers.values() if p.up]
        return min((t for t in times if t != float("inf")), default=None)

    # -- sessions -----------------------------------------------------------------------------

    def _session_up(self, event: SessionUp, now: float) -> None:
        peer = self.peers.get(event.peer)
        if peer is None:
            return
        wanted = frozenset(peer.intent.families)
        event = msgspec.structs.replace(event, families=event.families & wanted)
        peer.came_up(event, now)
        for family in peer.adj_in.families:
            # RFC 4724 section 4.2: a peer that did not keep forwarding has none of its old routes.
            if family not in peer.forwarding:
                self._purge(peer, family)
        peer.stale_until = now + peer.restart_time if any(self._stale(peer)) else None
        self._notice("info", "session_up", peer=str(event.peer), families=len(peer.families))
        self._replay(event.peer, peer.families)

    @staticmethod
    def _stale(peer: PeerState) -> list[int]:
        return [n for family in peer.adj_in.families if (n := peer.adj_in.stale_count(family))]

    def _session_down(self, event: SessionDown, now: float) -> None:
        peer = self.peers.get(event.peer)
        if peer is None:
            return
        self._notice("warning", "session_down", peer=str(event.peer), reason=event.reason)
        keep = event.graceful and peer.restart_time > 0 and not peer.disabled
        self._lose(peer, event.reason, now, peer.restart_time if keep else 0)

    def _speaker_lost(self, event: SpeakerLost, now: float) -> None:
        self._notice("error", "speaker_lost", vrf=event.vrf, reason=event.reason)
        restart_time = self.intent.restart_time if self.intent else 0
        for peer in self.peers.values():
            if peer.intent.peer.vrf == event.vrf and peer.up:
                # Our own death, not the peer's: what it told us is as good as it was.
                self._lose(peer, event.reason, now, restart_time)

    def _lose(self, peer: PeerState, reason: str, now: float, keep_for: int) -> None:
        peer.went_down(reason, now)
        if (out := self.ce_out.get(peer.intent.peer)) is not None:
            out.reset()
        for family in peer.adj_in.families:
            if keep_for:
                peer.adj_in.mark_stale(family)
            else:
                self._purge(peer, family)
        peer.stale_until = now + keep_for if keep_for and peer.adj_in.families else None

    def _purge(self, peer: PeerState, family: Family) -> None:
        if self._intake:
            self._intake.discard(peer.adj_in.take_all(family))

    def _end_of_rib(self, event: EndOfRib) -> None:
        peer = self.peers.get(event.peer)
        if peer is None or not peer.up or self._intake is None:
            return
        peer.eor_received.add(event.family)
        stale = peer.adj_in.take_stale(event.family)
        self._intake.discard(stale)
        if not self._stale(peer):
            peer.stale_until = None
        if stale:
            self._notice("info", "stale_routes_removed", peer=str(event.peer), routes=len(stale))

    def _expire(self, now: Instant) -> None:
        for peer in self.peers.values():
            if peer.stale_until is not None and now.monotonic >= peer.stale_until:
                self._stale_timeout(peer)
            if peer.held_until is not None and now.monotonic >= peer.held_until:
                peer.held_until = None
                self._configure_speakers()

    def _stale_timeout(self, peer: PeerState) -> None:
        peer.stale_until = None
        taken = [t for family in peer.adj_in.families for t in peer.adj_in.take_stale(family)]
        if self._intake:
            self._intake.discard(taken)
        name = str(peer.intent.peer)
        self._notice("warning", "restart_time_expired", peer=name, routes=len(taken))

    def _peer_cleared(self, name: PeerId) -> None:
        peer = self.peers.get(name)
        if peer is None:
            return
        if peer.held_until is not None:
            peer.held_until = None
            self._configure_speakers()
        else:
            self._effects.actions.append(ResetSession(name, ADMINISTRATIVE_RESET, "cleared"))

    # -- routes -------------------------------------------------------------------------------

    def _routes_received(self, event: RoutesReceived, now: float) -> None:
        peer = self.peers.get(event.peer)
        if peer is None or not peer.up or peer.disabled or self._intake is None:
            return
        self._intake.receive(peer, event, now)
        limit = peer.intent.limit(event.family)
        if limit is None:
            return
        count = peer.adj_in.count(event.family)
        if count > limit.maximum:
            self._shut(peer, event.family, count, now)
        elif count * 100 >= limit.maximum * limit.warn_percent and event.family not in peer.warned:
            peer.warned.add(event.family)
            name = str(event.peer)
            self._notice(
                "warning", "prefix_limit_near", peer=name, count=count, limit=limit.maximum
            )

    def _shut(self, peer: PeerState, family: Family, count: int, now: float) -> None:
        limit, name = peer.intent.limit(family), peer.intent.peer
        hold = limit.idle_hold if limit else 0
        peer.held_until = now + hold if hold else float("inf")
        peer.warned.clear()
        self._lose(peer, f"maximum number of prefixes reached ({count})", now, 0)
        self._notice("error", "prefix_limit_exceeded", peer=str(name), count=count, idle_hold=hold)
        reset = ResetSession(name, MAX_PREFIX_REACHED, "maximum number of prefixes reached")
        self._effects.actions.append(reset)
        self._configure_speakers()

    def _routes_withdrawn(self, event: RoutesWithdrawn) -> None:
        peer = self.peers.get(event.peer)
        if peer is not None and peer.up and self._intake is not None:
            self._intake.withdraw(peer, event.family, event.nlri)

    def _underlay_changed(self, event: UnderlayRouteChanged) -> None:
        before = dict(self.underlay.watched)
        changed = self.underlay.change(event.prefix, event.paths, event.metric)
        if not changed:
            return
        self.hops.refresh(changed, self._effects.delta)
        turned = {
            address
            for address in changed
            if _metric(before[address]) != _metric(self.underlay.watched[address])
        }
        for vrf in self.vrfs.values() if turned else ():
            vrf.table.touch_hops(set(turned))

    def _port_changed(self, event: PortChanged) -> None:
        if self.hops.set_port(event.name, up=event.present and event.up):
            for vrf in self.vrfs.values():
                vrf.table.touch_device(event.name)

    # -- decisions ----------------------------------------------------------------------------

    def _decide(self) -> None:
        """Choose best paths until nothing is left to choose: a leak dirties another VRF once."""
        while any(vrf.table.dirty for vrf in self.vrfs.values()):
            for vrf in self.vrfs.values():
                for prefix, old, new in vrf.table.decide(self._metric):
                    self._best_changed(vrf, prefix, old, new)

    def _metric(self, path: Path) -> int | None:
        return self.hops.metric(path.hop)

    def _best_changed(self, vrf: Vrf, prefix: Prefix, old: Path | None, new: Path | None) -> None:
        self._program(vrf, prefix, old, new)
        self.core_out.change(vrf, prefix, new)
        for out in self._ce_outs(vrf.name):
            out.change(vrf, prefix, new)
        self._leak(vrf, prefix, old, new)

    def _program(self, vrf: Vrf, prefix: Prefix, old: Path | None, new: Path | None) -> None:
        before = old.hop if old and not old.is_connected else None
        after = new.hop if new and not new.is_connected else None
        if before == after:
            return
        delta = self._effects.delta
        if after is not None:
            self.hops.take(after, delta)
        if before is not None:
            self.hops.release(before, delta)
        routes = delta.routes.setdefault(vrf.number, {})
        routes[prefix] = after

    def _leak(self, vrf: Vrf, prefix: Prefix, old: Path | None, new: Path | None) -> None:
        """RFC 4364 section 4.3.1 holds inside one PE as well: import what another VRF exports."""
        if self._intake is None:
            return
        for path in (old, new):
            if path is None or not path.source.is_local:
                continue
            twin = self._twin(vrf, path)
            for other in self._intake.importers(twin):
                if other is vrf:
                    continue
                if path is new and (not path.is_connected or vrf.intent.advertise_connected):
                    other.offer(prefix, twin)
                else:
                    other.table.drop(prefix, twin.slot)
        if old is not None and old is not new:
            self._leaked.pop(old, None)

    def _twin(self, vrf: Vrf, path: Path) -> Path:
        twin = self._leaked.get(path)
        if twin is None:
            router_id = int(self.intent.router_id) if self.intent else 0
            source = Source(Protocol.BGP, router_id=router_id)
            attributes = msgspec.structs.replace(
                path.attributes, route_targets=vrf.intent.export_targets
            )
            twin = Path(source, attributes, path.hop, vrf.intent.rd, path.accepted)
            self._leaked[path] = twin
        return twin

    # -- words for the peers ------------------------------------------------------------------

    def _flush(self) -> None:
        if self.intent is None:
            return
        up = [(n, p.families) for n, p in self.peers.items() if p.up and n.is_core]
        actions = self._effects.actions
        actions += self.core_out.flush(self.vrfs, up, self.intent.loopback)
        for name, out in self.ce_out.items():
            if self.peers[name].up:
                actions += out.flush(self.peers[name].families)

    def _replay(self, name: PeerId, families: frozenset[Family]) -> None:
        """Tell a peer everything. Decisions come first, so that what is told is current."""
        peer = self.peers.get(name)
        if peer is None or not peer.up or self.intent is None:
            return
        self._decide()
        if name.is_core:
            told = self.core_out.replay(name, families, self.vrfs, self.intent.loopback)
            self._effects.actions += told
        elif (vrf := self.vrfs.get(name.vrf)) is not None:
            self.ce_out[name].replay(vrf)

    def _look_at_sync(self, now: Instant) -> None:
        """End the start of day: then End-of-RIB goes out and leftovers may be swept."""
        if not self.in_sync:
            waiting = [p for p in self.peers.values() if not p.disabled]
            told = all(p.told_all(now.monotonic) for p in waiting) and self.intent is not None
            late = now.monotonic >= self._sync_deadline
            self.in_sync = self._underlay_synced and (told or late)
            if self.in_sync:
                self._notice("info", "in_sync", by="timeout" if not told else "end-of-rib")
        if self.in_sync:
            self._send_eors()
        self._effects.in_sync = self.in_sync

    def _send_eors(self) -> None:
        for name, peer in self.peers.items():
            for family in sorted(peer.eor_owed, key=lambda f: f.value):
                self._effects.actions.append(SendEndOfRib(name, family))
            peer.eor_owed = set()

    def _ce_outs(self, vrf: str) -> list[CeRibOut]:
        """The CEs of a VRF that are up; the others are told everything when they come."""
        return [o for name, o in self.ce_out.items() if name.vrf == vrf and self.peers[name].up]

    # -- the operator's wish ------------------------------------------------------------------

    def _intent_changed(self, intent: NodeIntent, now: Instant) -> None:
        old, self.intent = self.intent, intent
        if old is None:
            self._sync_deadline = now.monotonic + intent.sync_timeout
        self.underlay.via_default = intent.resolve_via_default
        self._change_vrfs(intent, now.wall)
        new_targets = self._new_import_targets(old, intent)
        self._intake = Intake(intent, self.vrfs)
        self._change_peers(intent)
        self._rebuild(old, intent)
        self._lay_out(intent)
        self._configure_speakers()
        if new_targets:
            self._refresh_core()

    def _change_vrfs(self, intent: NodeIntent, wall: float) -> None:
        allocator = LabelAllocator(intent.label_block, intent.label_rest, self._ledger)
        before = msgspec.structs.replace(
            self._ledger, held=dict(self._ledger.held), resting=dict(self._ledger.resting)
        )
        wanted = {vrf.name: vrf for vrf in intent.vrfs}
        for name in [n for n in self._ledger.held if n not in wanted]:
            allocator.release(name, wall)
        for name, vrf_intent in wanted.items():
            label = allocator.obtain(name, wall)
            vrf = self.vrfs.get(name)
            if vrf and (vrf.label, vrf.number) != (label, vrf_intent.table or int(label)):
                self._remove_vrf(vrf)
                vrf = None
            if vrf is None:
                self.vrfs[name] = Vrf(vrf_intent, label)
            elif vrf.export_identity != Vrf(vrf_intent, label).export_identity:
                self.core_out.forget(vrf)
        for name in [n for n in self.vrfs if n not in wanted]:
            self._remove_vrf(self.vrfs[name])
        if before != self._ledger:
            saved = SaveLabels(dict(self._ledger.held), dict(self._ledger.resting))
            self._effects.actions.append(saved)

    def _remove_vrf(self, vrf: Vrf) -> None:
        self.core_out.forget(vrf)
        for prefix, best in vrf.table.best.items():
            self._program(vrf, prefix, best, None)
            self._leak(vrf, prefix, best, None)
        del self.vrfs[vrf.name]

    def _new_import_targets(self, old: NodeIntent | None, new: NodeIntent) -> bool:
        known = {target for vrf in old.vrfs for target in vrf.import_targets} if old else set()
        return old is not None and any(not v.import_targets <= known for v in new.vrfs)

    def _change_peers(self, intent: NodeIntent) -> None:
        wanted = {peer.peer: peer for peer in intent.all_peers}
        for name in [n for n in self.peers if n not in wanted]:
            peer = self.peers.pop(name)
            self.ce_out.pop(name, None)
            for family in peer.adj_in.families:
                self._purge(peer, family)
        for name, peer_intent in wanted.items():
            known = self.peers.get(name)
            if known is None:
                self.peers[name] = PeerState(peer_intent)
            elif known.intent != peer_intent:
                self._change_peer(known, peer_intent)
            if not name.is_core:
                self._change_ce_out(peer_intent)

    def _change_peer(self, peer: PeerState, intent: PeerIntent) -> None:
        old, peer.intent = peer.intent, intent
        if (old.import_policy, old.site_of_origin) == (intent.import_policy, intent.site_of_origin):
            return
        # What the old policy refused was not kept: have it told again (RFC 2918).
        for family in peer.adj_in.families:
            self._purge(peer, family)
        if peer.up:
            refresh = [RequestRefresh(intent.peer, family) for family in intent.families]
            self._effects.actions += refresh

    def _change_ce_out(self, intent: PeerIntent) -> None:
        vrf = self.vrfs.get(intent.peer.vrf)
        old = self.ce_out.get(intent.peer)
        if vrf is None or (old is not None and old.peer == intent):
            return
        self.ce_out[intent.peer] = CeRibOut(intent, vrf.port(intent.port))
        if old is not None and self.peers[intent.peer].up:
            self.ce_out[intent.peer].take_over(old, vrf)

    def _rebuild(self, old: NodeIntent | None, new: NodeIntent) -> None:
        """Fill the tables anew for every VRF whose wish changed; decisions then differ or not."""
        before = {vrf.name: vrf for vrf in old.vrfs} if old else {}
        targets_changed = old is None or _exports(old) != _exports(new)
        for vrf_intent in new.vrfs:
            vrf = self.vrfs[vrf_intent.name]
            unchanged = before.get(vrf.name) == vrf_intent and not targets_changed
            if unchanged and not vrf.table.restarted:
                continue
            vrf.intent = vrf_intent
            vrf.table.restart()
            vrf.lay_local()
        if targets_changed:
            self._leaked.clear()
        self._refill(new)

    def _refill(self, new: NodeIntent) -> None:
        assert self._intake is not None  # noqa: S101 - set just before; a programming error else
        for vrf_intent in new.vrfs:
            vrf = self.vrfs[vrf_intent.name]
            if vrf.table.restarted:
                self._intake.restore(vrf, self.peers.values())
                self._leak_into(vrf)
                vrf.table.restarted = False
            # Exports are compared with what was sent, so offering all of them again is cheap.
            for prefix, best in vrf.table.best.items():
                self.core_out.change(vrf, prefix, best)
                for out in self._ce_outs(vrf.name):
                    out.change(vrf, prefix, best)

    def _leak_into(self, vrf: Vrf) -> None:
        for other in self.vrfs.values():
            for prefix, best in other.table.best.items() if other is not vrf else ():
                self._leak(other, prefix, None, best)

    def _lay_out(self, intent: NodeIntent) -> None:
        layout = Layout(intent, self.vrfs)
        self._effects.delta.merge(difference(self._layout, layout))
        self._layout = layout

    def _configure_speakers(self) -> None:
        intents = tuple(p.intent for p in self.peers.values() if not p.disabled)
        self._effects.actions.append(ConfigureSpeakers(intents))

    def _refresh_core(self) -> None:
        refresh: list[Effect] = [
            RequestRefresh(name, family)
            for name, peer in self.peers.items()
            if name.is_core and peer.up
            for family in sorted(peer.families, key=lambda f: f.value)
        ]
        self._effects.actions += refresh

    def _notice(self, level: str, event: str, **fields: str | int) -> None:
        self._effects.actions.append(Notice(level, event, fields))


def _metric(resolution: object) -> int | None:
    return getattr(resolution, "metric", None)


def _exports(intent: NodeIntent) -> object:
    return [(v.name, v.rd, v.table, v.import_targets, v.export_targets) for v in intent.vrfs]
