"""A replica holds what the node holds, after any events and at any time."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.api.compute.frames import LENGTH, encode, job_or_change
from controlplane.model.flow import FlowRecord
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.revision import State
from controlplane.model.verdict import ALLOW_BIT
from controlplane.policy.insight.flowbook import FlowBook, Seen
from controlplane.policy.insight.replica import FlowTable, Replica
from controlplane.policy.insight.replica_feed import Needs, ReplicaFeed
from controlplane.policy.insight.rule_names import by_number
from controlplane.policy.state import PolicyState
from tests.property.test_policy_state import World, steps
from tests.unit.api.serving import node_intent

ROOM = 6
flow_steps = st.tuples(
    st.just("flow"),
    st.sampled_from(["red", "blue"]),
    st.integers(1, 9),
    st.booleans(),
)


class Node:
    """What a feed reads."""

    def __init__(self, state: PolicyState, intent: NodeIntent) -> None:
        self.state = state
        self.intent = intent
        self.book = FlowBook(ROOM)
        self.started = 0.0
        self.history = History()
        self.baselines: Mapping[str, object] = {}

    def now(self) -> float:
        return 0.0

    def flow(self, vrf: str, host: int, allowed: bool) -> None:
        word = ALLOW_BIT if allowed else 0
        ends = ip_address(f"10.0.0.{host}"), ip_address("10.0.0.1")
        record = FlowRecord(0.0, vrf, *ends, 6, 1, 443, -1, word, None)
        self.book.take([record], 0, 0.0, by_number, by_number)


def rows(seen: list[Seen]) -> list[tuple[object, ...]]:
    return sorted(
        (s.vrf, str(s.source), str(s.destination), s.point, s.count, s.enforced) for s in seen
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(steps, flow_steps, st.just(("ask",))), max_size=40))
def test_a_replica_follows(script: list[tuple[object, ...]]) -> None:
    world = World()
    node = Node(world.state, node_intent(Path("/nonexistent")))
    replica, feed = Replica(), ReplicaFeed(node, "pe1")  # type: ignore[arg-type]
    replica.flows = FlowTable(ROOM)
    for step in [*script, ("ask",)]:
        match step:
            case ("ask",):
                for change in feed.changes(Needs(flows=True, history=True)):
                    replica.apply(job_or_change(encode(change)[LENGTH.size :]))
                check(world, node, replica)
            case ("flow", str(vrf), int(host), bool(allowed)):
                node.flow(vrf, host, allowed)
            case _:
                world.step(step)


def check(world: World, node: Node, replica: Replica) -> None:
    state = world.state
    for vrfs in (frozenset[str](), frozenset({"red"}), frozenset({"blue"})):
        view, whole = replica.view(vrfs), state.inventory()
        seen = whole.zones & vrfs if vrfs else whole.zones
        assert view.inventory.zones == seen
        by_name = {w.name: w for w in whole.workloads if w.vrf in seen}
        assert {w.name: w for w in view.inventory.workloads} == by_name
        assert set(view.inventory.remotes) == {r for r in whole.remotes if r.vrf in seen}
        for vrf in seen:
            for address in (ip_address(f"10.0.0.{n}") for n in range(5)):
                held = state.population.holders(vrf, address)
                told = view.queries.who_then(vrf, address, held)
                assert told == view.queries.who(vrf, address)
        kept = [s for s in node.book.seen() if s.vrf in seen]
        assert rows(replica.flows.seen(seen)) == rows(kept)
    enforced = state.ledger.in_state(State.ENFORCED)
    assert replica.enforced == (enforced.digest if enforced else "")
    if enforced:
        assert replica.policy(replica.enforced) == enforced.policy
