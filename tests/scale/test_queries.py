"""Queries: the work follows the caller's VRFs and what changed, not the node."""

from __future__ import annotations

from collections import Counter

import pytest
from bulkhead.v1 import flows_pb2, groups_pb2, policy_pb2, workloads_pb2

from controlplane.api.compute.frames import Done, encode
from controlplane.policy.insight.replica_feed import ReplicaFeed
from tests.scale.work import assert_flat, by_function
from tests.scale.worlds_of_queries import EVERYTHING, QueryNode, ask, fed, vrf_of

QUERIES = {
    "QueryFlows": (flows_pb2.QueryFlowsRequest(),),
    "GetMap": (flows_pb2.GetMapRequest(),),
    "ListWorkloads": (workloads_pb2.ListWorkloadsRequest(),),
    "ListGroups": (groups_pb2.ListGroupsRequest(), ""),
    "TrySelector": (groups_pb2.TrySelectorRequest(selector="tier=web"),),
    "CheckPolicy": (policy_pb2.CheckPolicyRequest(document="rules: [deny any to any]"),),
    "Explain": (
        policy_pb2.ExplainRequest(
            vrf=vrf_of(0), source="10.0.0.1", destination="10.0.0.2", service="tcp/443"
        ),
    ),
}


def work_of(name: str, vrfs: int) -> Counter[str]:
    """What one query of a caller limited to one VRF costs, its view included."""
    replica, _ = fed(QueryNode(vrfs))
    request, *rest = QUERIES[name]
    arguments = (request.SerializeToString(), *rest)  # type: ignore[union-attr]
    answered = []
    work = by_function(lambda: answered.append(ask(replica, name, vrf_of(0), *arguments)))
    assert isinstance(answered[0], Done)
    return work


@pytest.mark.parametrize("name", QUERIES)
def test_a_viewer_of_one_vrf_costs_the_same_on_a_node_of_2_and_of_60(name: str) -> None:
    assert_flat(work_of(name, 2), work_of(name, 60))


def test_control_a_larger_vrf_costs_more() -> None:
    replica, _ = fed(QueryNode(1, workloads=10))
    larger, _ = fed(QueryNode(1, workloads=500))
    request = workloads_pb2.ListWorkloadsRequest().SerializeToString()
    small, large = (
        by_function(lambda held=held: ask(held, "ListWorkloads", vrf_of(0), request)).total()  # type: ignore[misc]
        for held in (replica, larger)
    )
    assert large > 5 * small


def snapshot_work(vrfs: int, *, changed: bool) -> Counter[str]:
    """What the node's loop does before a query: nothing or one of each kind has changed."""
    node = QueryNode(vrfs)
    replica, feed = fed(node)
    if changed:
        node.attach(0, 999)
        node.flow(0, 999)

    def bring_up_to_date() -> None:
        for change in feed.changes(EVERYTHING):
            replica.apply(change)

    return by_function(bring_up_to_date)


def sent(vrfs: int, *, changed: bool) -> tuple[int, int]:
    """Frames and bytes that a worker is sent before a query."""
    node = QueryNode(vrfs)
    _, feed = fed(node)
    if changed:
        node.attach(0, 999)
        node.flow(0, 999)
    frames = [encode(change) for change in feed.changes(EVERYTHING)]
    return len(frames), sum(map(len, frames))


@pytest.mark.parametrize("changed", [False, True])
def test_a_worker_is_sent_what_changed_and_not_the_world(changed: bool) -> None:
    assert sent(2, changed=changed) == sent(60, changed=changed)


def test_control_a_new_worker_is_sent_the_world() -> None:
    def all_of(vrfs: int) -> int:
        feed = ReplicaFeed(QueryNode(vrfs), "pe1")
        return sum(len(encode(change)) for change in feed.changes(EVERYTHING))

    assert all_of(60) > 10 * all_of(2)


@pytest.mark.parametrize("changed", [False, True])
def test_a_snapshot_costs_what_changed_since_the_query_before(changed: bool) -> None:
    assert_flat(snapshot_work(2, changed=changed), snapshot_work(60, changed=changed))
