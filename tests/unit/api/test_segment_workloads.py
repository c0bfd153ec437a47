"""Workloads and groups over gRPC."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from bulkhead.segment import faults
from bulkhead.v1 import flows_pb2, workloads_pb2

from controlplane.api import server
from controlplane.api.access.caller import Caller
from controlplane.model.intent import ApiRole
from controlplane.model.prefix import parse_prefix
from controlplane.model.verdict import BY_PENDING
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    RemoteEndpoint,
    RemoteEndpointsChanged,
    WorkloadAttached,
    WorkloadDetached,
)
from tests.unit.api.segment_serving import (
    PAY,
    POLICY,
    WEB,
    Desk,
    enforce,
    refused,
    segment_desk,
)


def test_attach_is_idempotent_and_reaches_kernel_and_router(desk: Desk) -> None:
    first = desk.segment.attach("web", "red", "p1", [WEB], {"tier": "web"})
    again = desk.segment.attach("web", "red", "p1", [WEB + "/32"], {"tier": "web"})
    assert first == again
    assert (first.generation, list(first.addresses)) == (1, [WEB])
    assert [type(event) for event in desk.emitted] == [WorkloadAttached]
    assert ("red", parse_prefix(WEB).packed) in desk.kernel.held[Slot.ENFORCED].addresses4
    assert desk.segment.attach("web", "red", "p2", [WEB], {}).generation == 2


def test_detach_of_what_is_not_there_is_ok(company: Desk) -> None:
    company.segment.detach("web")
    company.segment.detach("web")
    assert [w.name for w in company.segment.list_workloads()] == ["pay"]
    assert company.emitted[-1] == WorkloadDetached("web")
    assert company.kernel.verdict(PAY, WEB, 80) == BY_PENDING


@pytest.mark.parametrize(
    ("place", "code", "field"),
    [
        (("web", "green", "p1", [WEB]), grpc.StatusCode.NOT_FOUND, "workload.vrf"),
        (("web", "red", "p9", [WEB]), grpc.StatusCode.NOT_FOUND, "workload.port"),
        (("new", "red", "p2", [PAY]), grpc.StatusCode.ALREADY_EXISTS, "workload.addresses[0]"),
        (
            ("new", "red", "p2", ["10.0.0.9", "10.9.9.9"]),
            grpc.StatusCode.FAILED_PRECONDITION,
            "workload.addresses[1]",
        ),
        (("Web 1", "red", "p1", [WEB]), grpc.StatusCode.INVALID_ARGUMENT, "workload.name"),
        (("web", "red", "p1", []), grpc.StatusCode.INVALID_ARGUMENT, "workload.addresses"),
        (("web", "red", "p1", ["x"]), grpc.StatusCode.INVALID_ARGUMENT, "workload.addresses[0]"),
        (("web", "red", "p1", ["127.0.0.1"]), grpc.StatusCode.INVALID_ARGUMENT,
         "workload.addresses[0]"),
        (("web", "red", "p1", ["224.0.0.9"]), grpc.StatusCode.INVALID_ARGUMENT,
         "workload.addresses[0]"),
        (("web", "red", "p1", ["ff02::1"]), grpc.StatusCode.INVALID_ARGUMENT,
         "workload.addresses[0]"),
    ],
)  # fmt: skip
def test_refusals_name_the_field(company: Desk, place, code, field) -> None:  # type: ignore[no-untyped-def]
    with refused(code) as caught:
        company.segment.attach(*place)
    assert faults(caught.value)[0][0] == field
    assert [w.generation for w in company.segment.list_workloads()] == [1, 1]


def test_all_faults_are_reported_at_once(desk: Desk) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        desk.segment.attach("X", "red", "p1", ["nowhere"], {"Tier": "web", "and": "x"})
    fields = [field for field, _ in faults(caught.value)]
    assert fields == [
        "workload.name", "workload.tags[Tier]", "workload.tags[and]", "workload.addresses[0]",
    ]  # fmt: skip


def test_tags_change_alone_and_only_what_was_seen(company: Desk) -> None:
    web = company.segment.tag("web", {"env": "prod"}, ["tier"])
    assert (dict(web.tags), web.generation) == ({"env": "prod"}, 2)
    with refused(grpc.StatusCode.ABORTED):
        company.segment.tag("web", {"env": "dev"}, expected_generation=1)
    assert company.segment.tag("web", {"env": "prod"}, expected_generation=2).generation == 2
    with refused(grpc.StatusCode.NOT_FOUND):
        company.segment.tag("absent", {"env": "dev"})


def test_selectors_choose_and_say_where_they_cannot_be_read(company: Desk) -> None:
    chosen = company.segment.list_workloads(selector="tier=web or scope=pci and not tier=web")
    assert [w.name for w in chosen] == ["pay", "web"]
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        company.segment.list_workloads(selector="tier==web")
    assert "column" in faults(caught.value)[0][1]


def test_watch_sends_the_present_state_and_then_changes(company: Desk) -> None:
    request = workloads_pb2.WatchWorkloadsRequest(selector="tier=web")
    stream = company.segment.workloads.WatchWorkloads(request)
    kinds = workloads_pb2.WatchWorkloadsResponse
    assert next(stream).workload.name == "web"
    assert next(stream).event == kinds.EVENT_SYNCED
    company.segment.tag("pay", {"tier": "web"})
    assert (lambda r: (r.event, r.workload.name))(next(stream)) == (kinds.EVENT_ATTACHED, "pay")
    company.segment.tag("pay", unset=["tier"])
    assert next(stream).event == kinds.EVENT_DETACHED
    company.segment.tag("web", {"env": "prod"})
    assert next(stream).event == kinds.EVENT_CHANGED
    stream.cancel()


def test_workloads_outlive_the_node(tmp_path: Path) -> None:
    with segment_desk(tmp_path) as desk:
        desk.attach("web", WEB, tier="web")
        digest = enforce(desk)
    with segment_desk(tmp_path) as desk:
        assert [w.name for w in desk.segment.list_workloads()] == ["web"]
        assert [type(event) for event in desk.emitted] == [WorkloadAttached]
        assert desk.segment.revisions()[0].digest == digest
        assert [c.move for c in desk.segment.changes()] == ["promote", "stage"]


def test_one_customer_sees_and_changes_nothing_of_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.attach("web", WEB, tier="web")
    desk.segment.attach("b-web", "blue", "q1", [WEB], {"tier": "web"})
    desk.flow(WEB, PAY, vrf="red")
    desk.flow(WEB, PAY, vrf="blue")
    blue = Caller("blue.example.net", ApiRole.POLICY_EDITOR, frozenset({"blue"}))
    monkeypatch.setattr(server, "local_caller", lambda _: blue)
    assert [w.name for w in desk.segment.list_workloads()] == ["b-web"]
    flows = [f.vrf for piece in desk.segment.query_flows() for f in piece.flows]
    assert flows == ["blue"]
    assert {n.vrf for n in desk.segment.map().nodes} == {"blue"}
    assert desk.segment.tag("b-web", {"env": "prod"}).generation == 2
    for call in (
        lambda: desk.segment.attach("new", "red", "p1", ["10.0.0.7"]),
        lambda: desk.segment.stage(POLICY),
        desk.segment.promote,
        lambda: desk.segment.get_evidence("tier=web"),
        lambda: list(desk.segment.query_flows(flows_pb2.FlowFilter(vrf="red"))),
    ):
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            call()
    with refused(grpc.StatusCode.NOT_FOUND):
        desk.segment.tag("web", {"env": "dev"})


def test_a_name_of_another_customer_is_answered_like_one_that_is_not_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.attach("web", WEB, tier="web")
    blue = Caller("blue.example.net", ApiRole.POLICY_EDITOR, frozenset({"blue"}))
    monkeypatch.setattr(server, "local_caller", lambda _: blue)
    desk.segment.detach("nothing")
    desk.segment.detach("web")
    assert "web" in desk.policy.state.population.attachments, "it is not theirs to detach"
    # Names are unique on the node: that a name cannot be had is all that the answer says.
    with refused(grpc.StatusCode.ALREADY_EXISTS) as caught:
        desk.segment.attach("web", "blue", "q1", ["10.0.0.7"])
    said = str(caught.value.details())
    assert said == "the name 'web' is not available on this node: choose another"
    assert desk.segment.attach("b-web", "blue", "q1", ["10.0.0.7"]).vrf == "blue"
    lines = [line for line in desk.running.audit if line.get("before")]
    assert all("red" not in str(line["before"]) for line in lines)


@pytest.mark.parametrize("role", [ApiRole.VIEWER, ApiRole.OPERATOR])
def test_tags_and_policy_are_for_those_who_edit_policy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, role: ApiRole
) -> None:
    monkeypatch.setattr(server, "local_caller", lambda _: Caller("someone", role))
    assert desk.segment.list_workloads() == []
    for call in (
        lambda: desk.attach("web", WEB),
        lambda: desk.segment.stage(POLICY),
        desk.segment.roll_back,
        lambda: desk.segment.record_baseline("may"),
    ):
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            call()


def test_groups_count_members_here_and_elsewhere(company: Desk) -> None:
    enforce(company)
    claim = RemoteEndpointsChanged(
        "red", {parse_prefix("10.0.0.77"): RemoteEndpoint(frozenset({101}), "10.255.0.2")}
    )
    company.claim(claim)
    rows = {g.name: (g.id, g.mode, g.local_members, g.remote_members)
            for g in company.segment.list_groups()}  # fmt: skip
    assert rows == {
        "web": (101, "", 1, 1),
        "payroll": (102, "full", 1, 0),
        "pci": (103, "", 1, 0),
    }
    members = company.segment.group("web").members
    assert [(m.workload, list(m.prefixes), m.node) for m in members] == [
        ("web", [WEB], ""), ("", ["10.0.0.77"], "10.255.0.2"),
    ]  # fmt: skip
    assert [n.name for n in company.segment.list_network_sets()] == ["partners"]
    with refused(grpc.StatusCode.NOT_FOUND):
        company.segment.group("absent")


def test_what_an_attachment_leaves_out_is_named_in_the_answer(desk: Desk) -> None:
    ask = desk.segment.attach_workload
    first = ask("web", "red", "p1", [WEB, "10.0.0.7"], {"tier": "web", "env": "prod"})
    assert list(first.removed) == []
    again = ask("web", "red", "p1", [WEB], {"tier": "app"})
    assert list(again.removed) == [
        "tag env=prod",
        "address 10.0.0.7 (in hold-down: denied for 300 s unless it is claimed)",
    ]
    assert list(ask("web", "red", "p1", [WEB], {"tier": "app"}).removed) == []
    assert list(ask("web", "red", "p1", [WEB]).removed) == ["tag tier=app"]


def test_without_a_policy_an_attachment_says_that_the_workload_is_in_no_group(desk: Desk) -> None:
    assert "no policy" in desk.segment.attach_workload("web", "red", "p1", [WEB]).warning
    enforce(desk)
    assert desk.segment.attach_workload("web", "red", "p1", [WEB]).warning == ""
