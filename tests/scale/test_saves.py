"""Many changes at once: the loop goes on between two that are synced to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import Workload
from controlplane.store.embedded import EmbeddedStore
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

CALLS = 32
"""What one caller may have open at a time (``controlplane.api.access.limits``)."""
WEB = Workload("web", "red", "p1", (parse_prefix("10.0.0.1"),), {"tier": "web"})


def test_no_two_changes_are_saved_without_a_turn_of_the_loop_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save is one sync of the disk: 64 in a row once held the loop for a second."""
    saves = 0
    save: Callable[..., None] = EmbeddedStore.save_attachment

    def counted(store: EmbeddedStore, *arguments: Any) -> None:
        nonlocal saves
        saves += 1
        save(store, *arguments)

    async def most_at_once() -> int:
        most, before = 0, saves
        while True:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return most
            most, before = max(most, saves - before), saves

    async def story() -> None:
        pe = PolicyNode(segment_intent(tmp_path))
        await pe.begin()
        try:
            await pe.access.attach(WEB, "ada")
            monkeypatch.setattr(EmbeddedStore, "save_attachment", counted)
            watch = asyncio.create_task(most_at_once())
            await asyncio.sleep(0)
            tags = (pe.access.tag("web", {"n": str(n)}, (), 0, "ada") for n in range(CALLS))
            await asyncio.gather(*tags)
            watch.cancel()
            assert (saves, await watch) == (CALLS, 1)
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(story())
