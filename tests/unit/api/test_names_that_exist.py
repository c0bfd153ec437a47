"""An error about a name that does not exist lists names that do, those of the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from bulkhead.v1 import flows_pb2 as flows

from controlplane.model.name_list import those
from tests.unit.api.segment_serving import WEB, Desk, enforce


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return str(refused.value.details())


def test_the_first_names_sorted_and_how_many_there_are_besides() -> None:
    assert those("VRFs", ["red", "blue", "red"]) == "; VRFs: blue, red"
    assert those("ports", "gfedcba") == "; ports: a, b, c, d, e and 2 more"
    assert those("groups", []) == "; there are no groups"


def test_vrfs_ports_and_workloads(company: Desk) -> None:
    segment = company.segment
    assert company.policy.intent is not None
    vrfs = sorted(vrf.name for vrf in company.policy.intent.vrfs)
    assert f"there is no VRF 'reed'; VRFs: {', '.join(vrfs)}" in said(
        lambda: segment.attach("new", "reed", "p1", ["10.0.0.77"])
    )
    assert "VRFs: " in said(lambda: segment.list_workloads("reed"))
    assert "VRFs: " in said(lambda: segment.explain(WEB, "10.0.0.2", "tcp/1", "reed"))
    assert "has no port 'px'; ports: p1" in said(
        lambda: segment.attach("new", "red", "px", ["10.0.0.77"])
    )
    held = sorted(company.policy.state.population.attachments)
    assert f"; workloads: {held[0]}" in said(lambda: segment.workload("nosuch"))
    assert "; workloads: " in said(lambda: segment.explain("nosuch", WEB, "tcp/1", "red"))


def test_groups_and_baselines(company: Desk) -> None:
    assert "; there are no groups" in said(lambda: company.segment.group("wbe"))
    assert "; there are no baselines" in said(lambda: company.segment.recommend("may"))
    enforce(company)
    company.segment.record_baseline("april")
    assert "web" in said(lambda: company.segment.group("wbe")).partition("; groups: ")[2]
    assert said(lambda: company.segment.recommend("may")).endswith("; baselines: april")
    wish = flows.FlowFilter(source="wbe")
    assert "; groups: " in said(lambda: list(company.segment.query_flows(wish)))


def test_the_answer_to_detach_has_the_hold_down(company: Desk) -> None:
    answer = company.segment.detach_workload("web")
    assert (answer.detached, list(answer.held_down), answer.hold_down_seconds) == (True, [WEB], 300)
    again = company.segment.detach_workload("web")
    assert (again.detached, list(again.held_down), again.hold_down_seconds) == (False, [], 0)
