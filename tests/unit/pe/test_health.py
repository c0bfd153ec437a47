"""What health and ``in_sync`` say in each state of the parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pe.supervisor import Supervisor
from pe.view.health import NodeHealth


@dataclass
class Parts:
    """As they are when all is well; a test changes one thing."""

    in_sync: bool = True
    is_settled: bool = True
    failing: tuple[Any, ...] = ()
    lost_speakers: frozenset[str] = frozenset()
    keeper: Any = None
    peers: dict[str, Any] = field(default_factory=dict)
    vrfs: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    policy_failing: list[str] = field(default_factory=list)

    @property
    def policy(self) -> Any:
        return SimpleNamespace(failing=lambda: self.policy_failing)

    def failures(self) -> tuple[Any, ...]:
        return self.failing

    def lost(self) -> frozenset[str]:
        return self.lost_speakers


@dataclass
class Keeper:
    is_settled: bool = True
    refusal: str = ""


@dataclass
class Failed:
    kind: str = "route"
    key: str = "7 10.0.0.0/8"


class Desk:
    def __init__(self) -> None:
        self.supervisor = Supervisor(lambda *_: None)
        parts: Any = Parts(keeper=Keeper())
        self.parts = cast(Any, parts)
        self.health = NodeHealth(self.supervisor, parts, parts, parts.keeper, parts)

    def turn(self, *names: str) -> Desk:
        for name in names or ("router", "dataplane", "policy"):
            self.supervisor.part(name).completed()
        return self

    @property
    def bad(self) -> set[str]:
        return {name or "whole" for name, well in self.health.serving().items() if not well}


def test_a_route_that_is_left_out_is_in_the_sentence() -> None:
    desk = Desk().turn()
    desk.parts.left_out = ("10.66.0.0/16 in VRF red",)
    assert desk.health.sentence.startswith("A defect keeps 1 routes out")


def test_a_node_that_works() -> None:
    desk = Desk().turn()
    assert desk.bad == set()
    assert desk.health.in_sync
    assert desk.health.is_open
    assert desk.health.sentence == "In sync: 0 VRFs, 0 of 0 BGP sessions up"


def test_before_the_first_turns_nothing_serves() -> None:
    desk = Desk()
    assert desk.bad == {"whole", "router", "dataplane", "policy"}
    assert not desk.health.in_sync


def test_until_the_initial_sync_is_over_the_node_does_not_serve() -> None:
    desk = Desk().turn()
    desk.parts.in_sync = False
    assert desk.bad == {"whole", "router"}
    assert not desk.health.in_sync
    assert not desk.health.is_open
    assert desk.health.sentence.startswith("Initial sync")


@pytest.mark.parametrize(
    ("part", "bad"),
    [("dataplane", {"whole", "dataplane"}), ("policy", {"policy"})],
)
def test_a_part_that_fails_until_its_next_turn(part: str, bad: set[str]) -> None:
    desk = Desk().turn()
    desk.supervisor.part(part).failed(KeyError("x"))
    assert desk.bad == bad
    assert not desk.health.in_sync
    if "whole" in bad:
        assert desk.health.sentence == "Not working: dataplane"
    desk.turn(part)
    assert desk.bad == set()
    assert desk.health.in_sync


def test_one_vrf_s_trouble_is_not_the_node_s() -> None:
    desk = Desk().turn()
    desk.parts.lost_speakers = frozenset({"red"})
    assert desk.bad == {"speaker"}
    assert not desk.health.in_sync
    desk.parts.lost_speakers = frozenset()
    desk.parts.keeper.refusal = "no memory"
    assert desk.bad == {"policy"}
    assert not desk.health.in_sync


@pytest.mark.parametrize("what", ["is_settled", "failing", "keeper"])
def test_in_sync_is_the_moment(what: str) -> None:
    desk = Desk().turn()
    if what == "keeper":
        desk.parts.keeper.is_settled = False
    else:
        setattr(desk.parts, what, (Failed(),) if what == "failing" else False)
    assert not desk.health.in_sync
    assert desk.bad == set()


FAILURES: dict[str, tuple[Callable[[Desk], object], str]] = {
    "a part": (lambda d: d.supervisor.part("policy").failed(KeyError("x")), "Not working: policy"),
    "a BGP process": (
        lambda d: setattr(d.parts, "lost_speakers", frozenset({"red", ""})),
        "Without BGP process: the core, red",
    ),
    "verdict tables": (
        lambda d: setattr(d.parts.keeper, "refusal", "no memory"),
        "The kernel refuses verdict tables: no memory",
    ),
    "an object of the kernel": (
        lambda d: setattr(d.parts, "failing", (Failed(),)),
        "1 objects are refused, first route 7 10.0.0.0/8",
    ),
    "a route": (
        lambda d: setattr(d.parts, "left_out", ("10.66.0.0/16 in VRF red",)),
        "A defect keeps 1 routes out: see route_left_out in the journal",
    ),
    "the policy": (lambda d: d.parts.policy_failing.append("Flows stay"), "Flows stay"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_nothing_that_fails_is_in_sync(what: str) -> None:
    desk = Desk().turn()
    assert desk.health.in_sync
    assert not desk.health.failing(), "the control"
    fail, sentence = FAILURES[what]
    fail(desk)
    assert not desk.health.in_sync
    assert sentence in desk.health.failing()
    assert desk.health.sentence == desk.health.failing()[0]


def test_many_lost_processes_are_not_all_named() -> None:
    desk = Desk().turn()
    desk.parts.lost_speakers = frozenset(f"v{n}" for n in range(9))
    assert "Without BGP process: v0, v1, v2, v3, v4 and 4 more" in desk.health.failing()


def test_a_refused_object_is_named() -> None:
    desk = Desk().turn()
    desk.parts.failing = (Failed(),)
    assert desk.health.sentence == "1 objects are refused, first route 7 10.0.0.0/8"


def test_a_node_that_ends_serves_nothing() -> None:
    desk = Desk()

    async def story() -> None:
        async with desk.supervisor:
            desk.turn()
            assert desk.bad == set()
            desk.supervisor.end("dataplane", KeyError("x"))
            assert desk.bad == {"whole", "router", "dataplane", "policy", "speaker"}
            assert not desk.health.in_sync
            assert desk.health.sentence == "Ending: dataplane: KeyError: 'x'"

    with pytest.raises(Exception, match="dataplane failed for good"):
        asyncio.run(story())


def test_a_part_whose_task_was_cancelled_does_not_serve() -> None:
    """A group of tasks says nothing of one that is cancelled: only its watchers can."""

    async def story() -> None:
        desk = Desk()
        async with desk.supervisor:
            forever = asyncio.Event()

            async def run() -> None:
                await forever.wait()

            task = desk.supervisor.part("dataplane").start(run)
            desk.turn()
            assert desk.bad == set()
            task.cancel()
            await asyncio.wait([task])
            assert desk.bad == {"whole", "dataplane"}

    asyncio.run(story())
