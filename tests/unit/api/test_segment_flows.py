"""Flows, the map, baselines and evidence over gRPC."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import grpc
import pytest
from bulkhead.v1 import flows_pb2
from click.testing import CliRunner

from controlplane.api.services import policy_access
from controlplane.model import observed
from pe.cli.main import main
from tests.unit.api import segment_serving
from tests.unit.api.segment_serving import (
    PARTNER,
    PAY,
    POLICY,
    WEB,
    Desk,
    enforce,
    refused,
)


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


LOGGING = POLICY.replace("security: [", "security: [log partners to any, ")


def test_flows_that_a_log_rule_matched_are_marked_filtered_and_in_the_journal(
    company: Desk,
) -> None:
    enforce(company, LOGGING)
    company.flow(WEB, PAY, 443)
    assert company.pe.logged("flow_logged") == []
    company.flow(PARTNER, PAY, 22)
    company.flow(PARTNER, WEB, 80)
    (piece,) = company.segment.query_flows(flows_pb2.FlowFilter(logged=True))
    marked = {(f.service, f.enforced.rule, f.enforced.logged) for f in piece.flows}
    assert marked == {("tcp/22", "security/20", True), ("tcp/80", "default/visibility", True)}
    (everything,) = company.segment.query_flows()
    assert {f.service: f.enforced.logged for f in everything.flows}["tcp/443"] is False
    lines = [(x["source"], x["service"], x["verdict"]) for x in company.pe.logged("flow_logged")]
    assert lines == [(PARTNER, "tcp/22", "denied"), (PARTNER, "tcp/80", "allowed")]
    socket = str(company.running.api.socket)
    text = CliRunner().invoke(main, ["flows", "--logged", "--socket", socket]).output
    assert text.count("(logged)") == 2


def test_a_logged_flow_stays_marked_when_the_log_rule_goes(company: Desk) -> None:
    enforce(company, LOGGING)
    company.flow(PARTNER, PAY, 22)
    enforce(company)
    company.flow(PARTNER, PAY, 22)
    (piece,) = company.segment.query_flows(flows_pb2.FlowFilter(source="partners"))
    assert [f.enforced.logged for f in piece.flows].count(True) == 1
    assert len(piece.flows) == 2


def test_a_watch_follows(company: Desk) -> None:
    stream = company.segment.watch_flows(flows_pb2.FlowFilter(vrf="red"))
    timer = threading.Timer(0.3, lambda: company.flow(WEB, PAY, 443))
    timer.start()
    told = next(stream)
    timer.join()
    assert (told.flow.source.workload, told.flow.count, told.skipped) == ("web", 1, 0)
    stream.cancel()  # type: ignore[attr-defined]


def test_the_map_has_a_box_for_every_group_and_arrows_by_verdict(company: Desk) -> None:
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
    made = [company.segment.record_baseline("may") for _ in range(2)]
    assert [(one.baseline.flows, list(one.pruned)) for one in made] == [(1, []), (1, [])]
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


def test_a_part_of_an_older_flow_is_shown_and_proves_nothing(company: Desk) -> None:
    """It was taken for a flow to an ephemeral port, and a rule for that was proposed."""
    company.flow(PAY, WEB, 37645, older=True)
    company.flow(WEB, PAY, 443)
    company.flow(WEB, PAY, 444, older=True)
    company.flow(WEB, PAY, 444)  # later its beginning was seen
    (piece,) = company.segment.query_flows()
    shown = {flow.service: flow.older for flow in piece.flows}
    assert shown == {"tcp/37645": True, "tcp/443": False, "tcp/444": False}
    socket = str(company.running.api.socket)
    text = CliRunner().invoke(main, ["flows", "--socket", socket]).output
    assert text.count("(older flow)") == 1
    assert company.segment.record_baseline("june").baseline.flows == 2
    enforce(company, POLICY.replace("modes: {groups: {payroll: full}}", "").replace(
        "  application: [allow web to payroll on tcp/443]\n", ""))  # fmt: skip
    (proposal,) = company.segment.recommend("").proposals
    assert proposal.sentence == "allow web to payroll on tcp/443, tcp/444"


def test_a_baseline_after_the_clock_was_set_back_has_what_was_seen_since(
    company: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began at the start of the node, which was later than now, and was empty."""
    hour = time.time() - 3600
    before = SimpleNamespace(time=lambda: hour)
    for module in (policy_access, segment_serving):  # gRPC's client has its deadlines by it
        monkeypatch.setattr(module, "time", before)
    company.flow(WEB, PAY, 443)
    made = company.segment.record_baseline("may").baseline
    assert made.flows == 1
    assert made.since.ToSeconds() <= made.until.ToSeconds()


def test_what_a_baseline_prunes_is_answered_and_logged(
    company: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed, "MOST_BASELINES", 2)
    for name in ("one", "two"):
        assert list(company.segment.record_baseline(name).pruned) == []
    socket = str(company.running.api.socket)
    shown = CliRunner().invoke(main, ["baseline", "record", "three", "--socket", socket])
    assert shown.output == "three: 0 flows, 0 lost; pruned for it: one\n"
    assert list(company.segment.record_baseline("four").pruned) == ["two"]
    said = [(line["name"], line["by"]) for line in company.pe.logged("baseline_pruned")]
    assert said == [("one", "three"), ("two", "four")]


def test_evidence_of_a_scope(company: Desk) -> None:
    digest = enforce(company)
    company.flow(WEB, PAY, 443, count=2)
    company.flow(PARTNER, PAY, 22)
    company.flow(WEB, "10.0.0.50", 80)  # an address outside the scope
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
