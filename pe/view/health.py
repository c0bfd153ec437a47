"""Report the node's health: part by part, as a whole, and in one line."""

from __future__ import annotations

from controlplane.model.name_list import name_list
from controlplane.router import Router
from controlplane.speaker.pool import SpeakerPool
from pe.dataplane.reconciler import DataplaneReconciler
from pe.policy.manager import PolicyMapManager
from pe.supervisor import Supervisor

SHOWN = 5
WHOLE = ""
"""The name of the whole node, as in grpc.health.v1."""


class NodeHealth:
    """Compute health from the parts at each call; no state is kept that could be out of date."""

    def __init__(
        self, supervisor: Supervisor, router: Router, actor: DataplaneReconciler,
        maps: PolicyMapManager, speakers: SpeakerPool,
    ) -> None:  # fmt: skip
        self._supervisor, self._router, self._actor = supervisor, router, actor
        self._maps, self._speakers = maps, speakers

    @property
    def in_sync(self) -> bool:
        """Return True while the kernel has the desired state and no part fails."""
        settled = self._actor.is_settled and self._maps.is_settled
        return self.serving()[WHOLE] and settled and not self.failing()

    @property
    def is_open(self) -> bool:
        """Return True once the initial sync is over and the data plane has opened the ports."""
        return self.serving()[WHOLE] and self._actor.is_settled

    def serving(self) -> dict[str, bool]:
        """Return every part that grpc.health.v1 names, and the whole: true while it does its work.

        The whole needs the router and the data plane. A lost BGP process or refused verdict
        tables are one VRF's trouble: they show under ``speaker`` and ``policy``.
        """
        alive = not self._supervisor.ended
        parts = {
            "router": alive and self._works("router") and self._router.in_sync,
            "dataplane": alive and self._works("dataplane"),
            "policy": alive and self._works("policy") and not self._maps.refusal,
            "speaker": alive and not self._speakers.lost(),
        }
        return {WHOLE: parts["router"] and parts["dataplane"], **parts}

    def _works(self, name: str) -> bool:
        part = self._supervisor.part(name)
        return part.turns > 0 and not part.failing and not part.has_ended

    def failing(self) -> list[str]:
        """Return what fails at present, a sentence each, the gravest first."""
        bad = [name for name, well in self.serving().items() if name and not well]
        if not self._router.in_sync:
            bad.remove("router")
        found = [f"Not working: {', '.join(bad)}"] if bad else []
        if lost := sorted(self._speakers.lost()):
            names = name_list([name or "the core" for name in lost], SHOWN)
            found.append(f"Without BGP process: {names}")
        if refusal := self._maps.refusal:
            found.append(f"The kernel refuses verdict tables: {refusal}")
        if failures := self._actor.failures():
            first = failures[0]
            found.append(f"{len(failures)} objects are refused, first {first.kind} {first.key}")
        if left_out := len(self._router.left_out):
            found.append(f"A defect keeps {left_out} routes out: see route_left_out in the journal")
        return found + self._router.policy.failing()

    @property
    def sentence(self) -> str:
        """Return one line for ``systemctl status``."""
        if self._supervisor.ended:
            return f"Ending: {self._supervisor.ended}"
        if not self._router.in_sync:
            return "Initial sync: waiting for the routes of the peers"
        if failing := self.failing():
            return failing[0]
        up = sum(peer.up for peer in self._router.peers.values())
        sessions = f"{up} of {len(self._router.peers)} BGP sessions up"
        return f"In sync: {len(self._router.vrfs)} VRFs, {sessions}"
