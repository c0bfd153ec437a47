"""Workloads, groups, policy, flows and evidence over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import grpc
import msgspec
import pytest
from bulkhead.segment import faults
from bulkhead.v1 import flows_pb2, policy_pb2, workloads_pb2

from controlplane.api import server
from controlplane.api.caller import Caller
from controlplane.model.effects import Claim, ClaimsChanged
from controlplane.model.events import WorkloadAttached, WorkloadDetached
from controlplane.model.intent import ApiRole
from controlplane.model.prefix import parse_prefix
from controlplane.segment.enforcer import LiveFlow, Slot
from controlplane.segment.verdict import BY_PENDING
from labs.waiting import until
from tests.unit.api.segment_serving import POLICY, Desk, segment_desk

WEB, PAY, PARTNER = "10.0.0.1", "10.0.0.2", "203.0.113.9"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with segment_desk(tmp_path) as made:
        yield made


@pytest.fixture
def company(desk: Desk) -> Desk:
    desk.attach("web", WEB, tier="web")
    desk.attach("pay", PAY, app="payroll", scope="pci")
    return desk


def enforce(desk: Desk, document: str = POLICY) -> str:
    digest = desk.segment.stage(document, reason="test").revision.digest
    desk.segment.promote(digest, "go")
    return digest


def refused(code: grpc.StatusCode) -> pytest.RaisesContext[grpc.RpcError]:  # type: ignore[name-defined]
    return pytest.raises(grpc.RpcError, check=lambda error: error.code() is code)


# -- workloads --------------------------------------------------------------------------------


def test_attach_is_idempotent_and_tells_kernel_and_router(desk: Desk) -> None:
    first = desk.segment.attach("web", "red", "p1", [WEB], {"tier": "web"})
    again = desk.segment.attach("web", "red", "p1", [WEB + "/32"], {"tier": "web"})
    assert first == again
    assert (first.generation, list(first.addresses)) == (1, [WEB])
    assert [type(event) for event in desk.told] == [WorkloadAttached]
    assert ("red", parse_prefix(WEB).packed) in desk.kernel.held[Slot.ENFORCED].addresses4
    assert desk.segment.attach("web", "red", "p2", [WEB], {}).generation == 2


def test_detach_of_what_is_not_there_is_ok(company: Desk) -> None:
    company.segment.detach("web")
    company.segment.detach("web")
    assert [w.name for w in company.segment.list_workloads()] == ["pay"]
    assert company.told[-1] == WorkloadDetached("web")
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
    ],
)  # fmt: skip
def test_refusals_name_the_field(company: Desk, place, code, field) -> None:  # type: ignore[no-untyped-def]
    with refused(code) as caught:
        company.segment.attach(*place)
    assert faults(caught.value)[0][0] == field
    assert [w.generation for w in company.segment.list_workloads()] == [1, 1]


def test_all_faults_are_told_at_once(desk: Desk) -> None:
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
        company.segment.tag("nobody", {"env": "dev"})


def test_selectors_choose_and_say_where_they_cannot_be_read(company: Desk) -> None:
    chosen = company.segment.list_workloads(selector="tier=web or scope=pci and not tier=web")
    assert [w.name for w in chosen] == ["pay", "web"]
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        company.segment.list_workloads(selector="tier==web")
    assert "column" in faults(caught.value)[0][1]


def test_watch_tells_what_is_there_and_then_what_changes(company: Desk) -> None:
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
        assert [type(event) for event in desk.told] == [WorkloadAttached]
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
        lambda: desk.segment.attach("web", "blue", "q1", ["10.0.0.7"]),
        lambda: desk.segment.detach("web"),
        lambda: desk.segment.stage(POLICY),
        desk.segment.promote,
        lambda: desk.segment.get_evidence("tier=web"),
        lambda: desk.segment.explain(WEB, PAY, "tcp/80", "red"),
        lambda: list(desk.segment.query_flows(flows_pb2.FlowFilter(vrf="red"))),
    ):
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            call()
    with refused(grpc.StatusCode.NOT_FOUND):
        desk.segment.tag("web", {"env": "dev"})


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


# -- groups -----------------------------------------------------------------------------------


def test_groups_count_members_here_and_elsewhere(company: Desk) -> None:
    enforce(company)
    claim = ClaimsChanged("red", {parse_prefix("10.0.0.77"): Claim(frozenset({101}), "10.255.0.2")})
    company.running.call(company.conductor.claims_changed([claim]))
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
        company.segment.group("nobody")


# -- policy -----------------------------------------------------------------------------------


def test_a_document_is_checked_with_every_fault_and_its_line(company: Desk) -> None:
    bad = "groups: {web: tier=web}\nrules:\n  - allow web too web\n  - deny nobody to web\nx: 1\n"
    answer = company.segment.check(bad)
    assert [(p.line, p.path) for p in answer.problems] == [
        (3, "rules[0]"), (4, "rules[1]"), (5, "x"),
    ]  # fmt: skip
    assert company.segment.check(POLICY).revision
    assert not company.segment.check(POLICY).problems
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        company.segment.stage(bad)
    assert len(faults(caught.value)) == 3
    assert company.segment.revisions() == []


def test_a_policy_against_the_nodes_own_sessions_is_refused(company: Desk) -> None:
    against = "rules: [deny any to any on tcp/179]"
    assert "BGP session" in company.segment.check(against).problems[0].problem
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        company.segment.stage(against)
    assert company.segment.stage("rules: [deny workloads to any on tcp/179]").revision.digest


def test_nor_is_it_rolled_back_to(company: Desk) -> None:
    intent = company.conductor.intent
    alone = tuple(msgspec.structs.replace(vrf, neighbors=()) for vrf in intent.vrfs)
    company.conductor.intent = msgspec.structs.replace(intent, vrfs=alone)
    enforce(company, "rules: [deny any to any on tcp/179]")
    now = enforce(company)
    company.conductor.intent = intent
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        company.segment.roll_back()
    assert company.segment.revisions()[0].digest == now
    company.conductor.intent = msgspec.structs.replace(intent, vrfs=alone)
    assert company.segment.roll_back().enforced.digest != now


def test_what_if_finds_the_flow_that_would_break(company: Desk) -> None:
    company.flow(WEB, PAY, 443)
    company.flow(PARTNER, PAY, 8001, count=3)
    answer = company.segment.what_if(POLICY)
    assert answer.broken_flows == 1
    broken = answer.flows[0]
    assert (broken.flow.source.address, broken.flow.service) == (PARTNER, "tcp/8001")
    assert broken.after.rule == "default/full"
    assert answer.narrows
    assert company.segment.revisions() == []
    enforce(company)
    assert not company.segment.what_if("rules: [allow any to any]").narrows


def test_staged_is_told_beside_enforced_and_decides_nothing(company: Desk) -> None:
    staged = company.segment.stage(POLICY, reason="look").revision
    assert staged.state == policy_pb2.Revision.STATE_STAGED
    company.flow(WEB, PAY, 22)
    flow = next(company.segment.query_flows()).flows[0]
    assert (flow.enforced.allowed, flow.enforced.rule) == (True, "default/visibility")
    assert (flow.staged.allowed, flow.staged.rule) == (False, "default/full")
    assert company.kernel.verdict(WEB, PAY, 22).allowed
    company.segment.unstage()
    company.segment.unstage()
    company.flow(WEB, PAY, 23)
    assert not next(company.segment.query_flows(limit=1)).flows[0].HasField("staged")


def test_promote_and_roll_back(company: Desk) -> None:
    first = enforce(company, "rules: [allow any to any]")
    second = company.segment.stage(POLICY).revision.digest
    with refused(grpc.StatusCode.ABORTED):
        company.segment.promote(first)
    answer = company.segment.promote(second, "release 7")
    assert answer.enforced.digest == second
    assert answer.enforced_after_microseconds > 0
    assert [r.digest for r in company.segment.revisions()] == [second, first]
    assert company.segment.promote(second).enforced.digest == second  # again: nothing to do
    assert not company.kernel.verdict(WEB, PAY, 22).allowed
    assert company.segment.roll_back(reason="oops").enforced.digest == first
    assert company.kernel.verdict(WEB, PAY, 22).allowed
    log = [(c.move, c.before, c.after, c.why) for c in company.segment.changes()]
    assert log[0] == ("rollback", second, first, "oops")
    assert log[1] == ("promote", first, second, "release 7")
    assert company.segment.changes()[0].who.startswith("uid:")
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        company.segment.promote()


def test_established_flows_that_are_forbidden_now_end(company: Desk) -> None:
    ends = (ip_address(WEB), ip_address(PAY))
    good, bad = (LiveFlow("red", *ends, 6, 4000, port, -1, 1, 5, 500) for port in (443, 22))
    company.kernel.flows["red"] = [good, bad]
    digest = company.segment.stage(POLICY).revision.digest
    assert company.kernel.ended == []
    assert company.segment.promote(digest).ended_flows == 1
    assert company.kernel.ended == [bad]


def test_a_tag_that_goes_ends_the_flows_that_it_allowed(company: Desk) -> None:
    """Only those of the workload are asked for; of a network, all."""
    enforce(company)
    ends = (ip_address(WEB), ip_address(PAY))
    flow = LiveFlow("red", *ends, 6, 4000, 443, -1, 1, 5, 500)
    assert company.kernel.verdict(WEB, PAY, 443).allowed, "control"
    company.kernel.flows["red"] = [flow]
    assert until(lambda: not company.conductor.sweeper.has_work, 5.0)
    company.kernel.asked.clear()
    company.segment.tag("web", {"tier": "cache"})
    assert until(lambda: company.kernel.ended == [flow], 5.0)
    assert company.kernel.asked == [frozenset({WEB})]
    company.segment.attach("net", "red", "p1", ["10.0.0.128/25"])
    assert until(lambda: len(company.kernel.asked) == 2, 5.0)
    assert company.kernel.asked[1] == frozenset()


def test_what_the_kernel_refuses_changes_nothing(company: Desk) -> None:
    first = enforce(company, "rules: [allow any to any]")
    second = company.segment.stage(POLICY).revision.digest
    company.kernel.refuse = RuntimeError("no memory")
    with refused(grpc.StatusCode.INTERNAL):
        company.segment.promote(second)
    company.kernel.refuse = None
    states = {r.digest: r.state for r in company.segment.revisions()}
    assert states == {
        first: policy_pb2.Revision.STATE_ENFORCED, second: policy_pb2.Revision.STATE_STAGED,
    }  # fmt: skip
    assert company.kernel.verdict(WEB, PAY, 22).allowed
    assert company.segment.changes()[0].move == "revert"
    assert company.segment.promote(second).enforced.digest == second


def test_a_difference_is_told_by_subject(company: Desk) -> None:
    first = enforce(company)
    company.segment.stage(POLICY.replace("tcp/443", "tcp/8443"))
    lines = company.segment.diff()
    assert [(line.subject, line.after) for line in lines] == [
        ("rule application/10", "application/10: allow web to payroll on tcp/8443")
    ]
    assert company.segment.diff(first, first[:8]) == []
    assert '"payroll"' in company.segment.revision(first[:8]).document


def test_explain_walks_from_port_to_verdict(company: Desk) -> None:
    enforce(company)
    answer = company.segment.explain("web", "pay", "tcp/443")
    assert answer.enforced.allowed
    assert [(s.rule, s.answer) for s in answer.enforced_steps] == [
        ("security/10", "another source"), ("application/10", "allow"),
    ]  # fmt: skip
    assert list(answer.destination.groups) == ["payroll", "pci"]
    assert not company.segment.explain(WEB, PAY, "tcp/22", "red").enforced.allowed
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        company.segment.explain(WEB, PAY, "tcp", "red")
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        company.segment.explain(WEB, PAY, "tcp/22")


# -- flows ------------------------------------------------------------------------------------


def test_flows_are_gathered_named_and_filtered(company: Desk) -> None:
    enforce(company)
    company.flow(WEB, PAY, 443, count=3)
    company.flow(PARTNER, PAY, 22)
    company.flow(WEB, PAY, 443, vrf="blue")

    def found(**wish: object) -> list[tuple[str, str, str, int]]:
        pieces = company.segment.query_flows(flows_pb2.FlowFilter(**wish))  # type: ignore[arg-type]
        return [(f.vrf, f.source.workload or f.source.address, f.service, f.count)
                for piece in pieces for f in piece.flows]  # fmt: skip

    assert found(vrf="red", allowed=True) == [("red", "web", "tcp/443", 3)]
    assert found(source="partners") == [("red", PARTNER, "tcp/22", 1)]
    assert found(destination="payroll", service="tcp/1-100") == [("red", PARTNER, "tcp/22", 1)]
    assert found(vrf="blue") == [("blue", WEB, "tcp/443", 1)]
    assert found(destination="web") == []
    company.lose(7)
    assert next(company.segment.query_flows()).loss.lost == 7


def test_a_watch_follows(company: Desk) -> None:
    stream = company.segment.watch_flows(flows_pb2.FlowFilter(vrf="red"))
    timer = threading.Timer(0.3, lambda: company.flow(WEB, PAY, 443))
    timer.start()
    told = next(stream)
    timer.join()
    assert (told.flow.source.workload, told.flow.count, told.skipped) == ("web", 1, 0)
    stream.cancel()  # type: ignore[attr-defined]


def test_the_map_has_a_box_for_everybody_and_arrows_by_verdict(company: Desk) -> None:
    enforce(company)
    company.segment.attach("lonely", "red", "p1", ["10.0.0.9"], {})
    company.flow(WEB, PAY, 443)
    company.flow(PARTNER, PAY, 22, count=2)
    answer = company.segment.map(flows_pb2.FlowFilter(vrf="red"))
    kinds = flows_pb2.MapNode
    assert {(n.name, n.kind, n.members, n.mode) for n in answer.nodes} == {
        ("web", kinds.KIND_GROUP, 1, "visibility"),
        ("payroll", kinds.KIND_GROUP, 1, "full"),
        ("lonely", kinds.KIND_WORKLOAD, 1, "visibility"),
        ("partners", kinds.KIND_NETWORK_SET, 0, "visibility"),
    }
    assert {(e.source, e.destination, e.allowed, e.denied) for e in answer.edges} == {
        ("web", "payroll", 1, 0), ("partners", "payroll", 0, 2),
    }  # fmt: skip


def test_a_baseline_is_kept_and_suggests_rules(company: Desk) -> None:
    company.flow(WEB, PAY, 443, count=4)
    baseline = company.segment.record_baseline("may")
    assert (baseline.flows, company.segment.record_baseline("may").flows) == (1, 1)
    company.flow(WEB, PAY, 444)
    assert [b.flows for b in company.segment.baselines()] == [1]
    enforce(company, POLICY.replace("modes: {groups: {payroll: full}}", "").replace(
        "  application: [allow web to payroll on tcp/443]\n", ""))  # fmt: skip
    advice = company.segment.recommend("may")
    assert [(p.sentence, p.count) for p in advice.proposals] == [
        ("allow web to payroll on tcp/443", 4)
    ]
    with refused(grpc.StatusCode.NOT_FOUND):
        company.segment.recommend("june")
    span = flows_pb2.RecordBaselineRequest(name="may")
    span.until.FromSeconds(5)
    with refused(grpc.StatusCode.ALREADY_EXISTS):
        company.segment.flows.RecordBaseline(span)


# -- evidence ---------------------------------------------------------------------------------


def test_evidence_of_a_scope(company: Desk) -> None:
    digest = enforce(company)
    company.flow(WEB, PAY, 443, count=2)
    company.flow(PARTNER, PAY, 22)
    company.flow(WEB, "10.0.0.50", 80)  # nobody of the scope
    company.segment.tag("pay", {"owner": "hr"})
    company.lose(3)
    answer = company.segment.get_evidence("scope=pci")
    assert (answer.revision, answer.node, answer.loss.lost) == (digest, "pe1", 3)
    assert [m.workload for m in answer.members] == ["pay"]
    allowed = {(p.source, p.destination, p.service, p.rule, p.count) for p in answer.allowed}
    assert allowed == {("web", "payroll", "tcp/443", "application/10", 2)}
    assert [(d.source.address, d.service, d.rule) for d in answer.denied] == [
        (PARTNER, "tcp/22", "security/10")
    ]
    assert [(c.move, c.why) for c in answer.changes] == [("stage", "test"), ("promote", "go")]
    assert [(c.workload, c.change) for c in answer.membership_changes] == [
        ("pay", "attached"), ("pay", "tagged"),
    ]  # fmt: skip


def test_changes_are_in_the_audit_log(company: Desk) -> None:
    company.segment.tag("web", {"env": "prod"})
    last = company.running.audit[-1]
    assert last["method"] == "/bulkhead.v1.Workloads/TagWorkload"
    assert "env=prod" in last["after"]
    assert "env=prod" not in last["before"]
