"""Which VRFs the packet filters track, and in which of them they let only judged packets cross."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

VrfNames = frozenset[str]


class VerdictGuards(Protocol):
    """The packet filters (``pe.dataplane.reconciler``)."""

    def expect_verdicts(self, tracked: VrfNames, judged: VrfNames) -> None:
        """Track and judge these VRFs with the next change of the filters."""
        ...

    async def require_verdicts(self, tracked: VrfNames, judged: VrfNames) -> None:
        """Track and judge these VRFs; return once the filters do. Raises TimeoutError."""
        ...


class VerdictGate:
    """Keeps VRFs closed that are new and under policy, until their verdict tables are loaded."""

    def __init__(self, guards: VerdictGuards) -> None:
        self._guards = guards
        self._closed: VrfNames = frozenset()
        self._required: tuple[VrfNames, VrfNames] = (frozenset(), frozenset())

    def close(self, vrfs: VrfNames) -> None:
        """Have these VRFs open guarded, and stay closed until there are verdicts."""
        self._closed |= vrfs
        tracked, judged = self._required
        self._guards.expect_verdicts(tracked | self._closed, judged | self._closed)

    def keep(self, vrfs: Collection[str]) -> None:
        """Forget closed VRFs that are not under policy (any more)."""
        self._closed &= frozenset(vrfs)

    async def require(self, tracked: VrfNames, judged: VrfNames) -> None:
        """Do what the policy map manager asks for; closed VRFs stay so until it judges them."""
        self._closed -= judged
        self._required = (tracked, judged)
        await self._guards.require_verdicts(tracked | self._closed, judged | self._closed)
