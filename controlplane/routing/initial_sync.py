"""Initial sync: when is enough known to delete leftovers, and to send End-of-RIB?

A restarted speaker waits for its peers' End-of-RIB, or for a timer (RFC 4724 section 4.1). What
it advertises to the core comes from its sites alone, and so waits for the sites only: two PEs that
start together would else wait for each other until the timer.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.bgp.peer_state import PeerState
from controlplane.model.effects import SendEndOfRib
from controlplane.routing.state import RouterState

NEVER = float("inf")


class InitialSync:
    """``in_sync`` turns true once and stays so."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self.underlay_synced = False
        self._deadline = NEVER

    def begin(self, sync_timeout: float) -> None:
        """Start the timer; called with the first intent."""
        self._deadline = self._state.now.monotonic + sync_timeout

    def look(self) -> None:
        """Check whether initial sync is over; send each End-of-RIB that is due."""
        state = self._state
        if state.intent is not None and self.underlay_synced:
            late = state.now.monotonic >= self._deadline
            sites = state.in_sync or late or self._received_all(core=False)
            if not state.in_sync and sites and (late or self._is_whole()):
                state.in_sync = True
                state.notice("info", "in_sync", by="timeout" if late else "end-of-rib")
            self._end_ribs(to_core=sites)
        state.effects.in_sync = state.in_sync

    def _is_whole(self) -> bool:
        """Return True once all that was in force is desired again. Before the kernel holds the VRFs
        their ports are not reported, and routes through them or over a link that is still being
        probed are missing: swept now, those of a former run would be away for a moment."""
        known = not self._state.pending and not self._state.underlay.awaits_probes
        return known and self._received_all(core=True)

    def _received_all(self, *, core: bool) -> bool:
        now = self._state.now.monotonic
        return all(p.has_sent_all(now) for p in self._awaited() if p.intent.peer.is_core is core)

    def _awaited(self) -> Iterator[PeerState]:
        return (peer for peer in self._state.peers.values() if not peer.disabled)

    def _end_ribs(self, *, to_core: bool) -> None:
        pending = self._state.pending
        for name, peer in list(self._state.attention.items()):
            if not (self._state.in_sync or (to_core and name.is_core)):
                continue
            if name.vrf in pending or (name.is_core and pending):
                continue  # announcements that belong before it are held
            for family in sorted(peer.eor_owed, key=lambda f: f.value):
                self._state.act(SendEndOfRib(name, family))
            peer.eor_owed = set()

    def deadlines(self) -> Iterator[float]:
        """Yield when something will be due."""
        if not self._state.in_sync:
            yield self._deadline
            yield from (p.quiet_at for p in self._awaited() if p.up and not p.ends_its_rib)
