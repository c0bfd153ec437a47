"""Microsegmentation of one running node: the deciding half and the kernel's half, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controlplane.model.effects import RemoteEndpointsChanged
from controlplane.model.events import Event
from controlplane.model.intent import NodeIntent
from controlplane.model.supervision import Part
from controlplane.policy.controller import PolicyController
from controlplane.store.protocol import Store
from pe.dataplane.reconciler import DataplaneReconciler
from pe.policy.manager import Log, PolicyMapManager
from pe.process.clock import boot_now


class Segmentation:
    """``Segments`` for the node; ``conductor`` is what the API talks to."""

    def __init__(
        self, store: Store, agent: DataplaneReconciler, intent: NodeIntent, *,
        emit: Callable[[list[Event]], None], log: Log, part: Part, flows: Part,
    ) -> None:  # fmt: skip
        self._agent = agent
        # VRFs that are under policy already, and stay closed until verdicts are there.
        self._closed: frozenset[str] = frozenset()
        self._laid_out = False
        self.keeper = PolicyMapManager(
            log=log, require=self._require, generations=agent.generations, part=part, flows=flows
        )
        self.conductor = PolicyController(
            store, self.keeper, intent, emit=emit, log=log, part=part, boot=boot_now
        )

    async def start(self) -> None:
        """Open sockets and tell the router of the workloads that are known. Raises OSError."""
        await self.keeper.start()
        self.conductor.open()

    async def stop(self) -> None:
        """End; the kernel goes on judging."""
        await self.conductor.stop()
        await self.keeper.stop()

    def layout(self, intent: NodeIntent, zones: dict[str, int]) -> None:
        """The node has these VRFs; those under policy do not open before they are judged."""
        self.conductor.layout(zones)
        self.conductor.configure(intent)
        if not self._laid_out:
            self._laid_out = True
            self._closed = frozenset(self.conductor.director.zones)
            self._agent.expect_verdicts(self._closed)

    async def claims_changed(self, changes: Sequence[RemoteEndpointsChanged]) -> None:
        """Routes of other PEs came or went."""
        await self.conductor.claims_changed(changes)

    def begin(self) -> None:
        """All peers have told what they have, or had their time: judge by it."""
        self.conductor.begin()

    async def _require(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        """The keeper first has VRFs tracked and then judged; none is left open in between."""
        if judged:
            self._closed = frozenset()
        await self._agent.require_verdicts(tracked, judged | (self._closed & tracked))
