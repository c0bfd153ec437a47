"""Keep an event that raises from harming more than the peer or the caller that sent it."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.effects import Answer
from controlplane.model.events import Event, Requested, RoutesReceived, RoutesWithdrawn
from controlplane.model.peer import PeerId
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState

HOLD_SECONDS = 300.0
"""How long the session of a peer is held down whose event could not be processed."""


@dataclass(frozen=True, slots=True)
class EventFailure:
    """An event that raised: which one, of which peer, and what was done about it."""

    subject: str
    error: Exception


class Containment:
    """What the router does about an event whose processing raised."""

    def __init__(self, state: RouterState, sessions: Sessions) -> None:
        self._state, self._sessions = state, sessions
        self.failures: list[EventFailure] = []

    def contain(self, event: Event, error: Exception) -> None:
        """Undo what the event may have left half done. Raises ``error`` where nothing can.

        A CE's session is held down. A core peer's is not, for every VPN needs it: its routes
        count as withdrawn (in the spirit of RFC 7606), unless that raises as well. A request is
        refused: it changes nothing before the store has written what it proposed.
        """
        if isinstance(event, Requested) and self._state.proposal is None:
            self._state.act(Answer(event.ticket, error=error))
            self.failures.append(EventFailure(f"{type(event).__name__}, refused", error))
            return
        peer = getattr(event, "peer", None)
        if not isinstance(peer, PeerId) or peer not in self._state.peers:
            raise error
        done = "routes withdrawn"
        if not self._withdrawn(event, peer):
            done = f"session held down for {HOLD_SECONDS:.0f} s"
            self._sessions.hold(self._state.peers[peer], HOLD_SECONDS, type(error).__name__)
        subject = f"{type(event).__name__} of {peer}, {done}"
        self.failures.append(EventFailure(subject, error))

    def _withdrawn(self, event: Event, peer: PeerId) -> bool:
        if not (peer.is_core and isinstance(event, RoutesReceived)):
            return False
        try:
            self._sessions.routes_withdrawn(RoutesWithdrawn(peer, event.family, event.nlri))
        except Exception as error:
            self.failures.append(EventFailure(f"withdrawal of routes of {peer}", error))
            return False
        return True
