"""The executor ends a session before its guard goes, and leaves the other sessions as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from controlplane.model.effects import ConfigureSpeakers, Effect, Effects
from controlplane.model.intent import PeerIntent
from tests.unit.api.segment_serving import segment_intent
from tests.unit.controlplane.rig import ce_peer
from tests.unit.policy.node import PolicyNode

RED, BLUE = ce_peer("red", "192.0.2.2"), ce_peer("blue", "192.0.2.2")
BLUE2 = ce_peer("blue", "192.0.2.6")
Sessions = dict[str, tuple[PeerIntent, ...]]


def configured(state_dir: Path, *turns: Sequence[Effect]) -> list[tuple[Sessions, int]]:
    """What the BGP processes receive while the executor carries these turns out."""
    found: list[tuple[Sessions, int]] = []

    async def run() -> None:
        node = PolicyNode(segment_intent(state_dir))

        def configure(peers: Mapping[str, tuple[PeerIntent, ...]], restart_time: int) -> None:
            found.append((dict(peers), restart_time))

        node.speakers.configure = configure  # type: ignore[method-assign]
        for actions in turns:
            node.executor.perform(Effects(actions=list(actions)))
        node.store.close()

    asyncio.run(run())
    return found


def test_the_staying_sessions_keep_their_restart_time(tmp_path: Path) -> None:
    """A restart time of 0, given once, reopened every session of the node."""
    both: Sessions = {"red": (RED,), "blue": (BLUE, BLUE2)}
    one: Sessions = {"red": (RED,), "blue": (BLUE,)}
    turns = [[ConfigureSpeakers(both, 120)], [ConfigureSpeakers(one, 60)]]
    assert configured(tmp_path, *turns) == [(both, 120), ({"blue": (BLUE,)}, 120), (one, 60)]


def test_of_a_vrf_the_last_word_of_a_turn_counts(tmp_path: Path) -> None:
    first: Sessions = {"red": (RED,), "blue": (BLUE,)}
    turns = [
        [ConfigureSpeakers(first, 120)],
        [ConfigureSpeakers({"blue": ()}, 120), ConfigureSpeakers({"blue": (BLUE,)}, 120)],
        [ConfigureSpeakers({"red": ()}, 120)],
        [ConfigureSpeakers({"red": ()}, 120)],
    ]
    assert configured(tmp_path, *turns) == [
        (first, 120),
        ({"blue": (BLUE,)}, 120),
        ({"red": ()}, 120), ({"red": ()}, 120),
        ({"red": ()}, 120),
    ]  # fmt: skip
