"""The executor ends a session before its guard goes, and leaves the other sessions as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controlplane.model.effects import ConfigureSpeakers, Effects
from tests.unit.api.segment_serving import segment_intent
from tests.unit.controlplane.rig import ce_peer
from tests.unit.policy.node import PolicyNode

RED, BLUE = ce_peer("red", "192.0.2.2"), ce_peer("blue", "192.0.2.2")


def test_the_staying_sessions_keep_their_restart_time(tmp_path: Path) -> None:
    """A restart time of 0, given once, reopened every session of the node."""
    configured: list[tuple[int, int]] = []

    async def run() -> None:
        node = PolicyNode(segment_intent(tmp_path))
        speakers = node.executor._speakers
        stock = speakers.configure

        def configure(peers: tuple[object, ...], restart_time: int) -> None:
            configured.append((len(peers), restart_time))
            stock(peers, restart_time)  # type: ignore[arg-type]

        speakers.configure = configure  # type: ignore[method-assign]
        for peers in ((RED, BLUE), (BLUE,)):
            node.executor.perform(Effects(actions=[ConfigureSpeakers(peers, 120)]))
        node.store.close()

    asyncio.run(run())
    assert configured == [(2, 120), (1, 120), (1, 120)]
