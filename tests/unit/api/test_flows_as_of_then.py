"""Flows are shown as they were judged: by the rule, the workloads and the revision of then."""

from __future__ import annotations

from bulkhead.v1 import flows_pb2 as pb
from click.testing import CliRunner

from pe.cli.main import main
from tests.unit.api.segment_serving import PARTNER, PAY, POLICY, WEB, Desk, enforce

ABOVE = POLICY.replace("application: [allow", "application: [allow web to payroll on tcp/80, allow")
"""The rule on tcp/443 is application/20, and application/10 another one."""


def flows(desk: Desk, **wish: object) -> list[pb.Flow]:
    pieces = desk.segment.query_flows(pb.FlowFilter(**wish))  # type: ignore[arg-type]
    return [flow for piece in pieces for flow in piece.flows]


def hits(desk: Desk) -> dict[str, int]:
    """How often a rule allowed something to or from the workloads in scope, by its id."""
    found: dict[str, int] = {}
    for pair in desk.segment.get_evidence("scope=pci").allowed:
        found[pair.rule] = found.get(pair.rule, 0) + pair.count
    return found


def test_hits_follow_a_rule_to_its_new_place(company: Desk) -> None:
    first = enforce(company)
    company.flow(WEB, PAY, 443, count=3)
    assert hits(company) == {"application/10": 3}
    enforce(company, ABOVE)
    assert hits(company) == {"application/10": 0, "application/20": 3}
    (flow,) = flows(company)
    told = flow.enforced
    assert (told.rule, told.revision, told.former) == ("application/10", first[:8], True)
    socket = str(company.running.api.socket)
    shown = CliRunner().invoke(main, ["flows", "--socket", socket]).output
    assert f"application/10 of {first[:8]}" in shown
    company.flow(WEB, PAY, 443)
    company.flow(WEB, PAY, 80)
    assert hits(company) == {"application/10": 1, "application/20": 4}
    rules = {(f.service, f.enforced.rule, f.enforced.former, f.count) for f in flows(company)}
    assert rules == {
        ("tcp/443", "application/20", False, 4), ("tcp/80", "application/10", False, 1),
    }  # fmt: skip


def test_what_another_rule_allowed_is_no_hit_of_the_rule_that_has_its_id_now(
    company: Desk,
) -> None:
    first = enforce(company)
    company.flow(WEB, PAY, 443, count=3)
    company.flow(PARTNER, PAY, 22)
    enforce(company, POLICY.replace("tcp/443", "tcp/444").replace("tcp/22", "tcp/23"))
    assert hits(company) == {"application/10": 0, f"application/10 of {first[:8]}": 3}
    (denied,) = company.segment.get_evidence("scope=pci").denied
    assert denied.rule == f"security/10 of {first[:8]}"


def test_one_kind_of_flow_that_two_rules_judged_is_two(company: Desk) -> None:
    enforce(company)
    company.flow(WEB, PAY, 443, count=3)
    enforce(company, POLICY.replace("web to payroll on tcp/443", "workloads to payroll"))
    company.flow(WEB, PAY, 443, count=2)
    assert sorted((f.count, f.enforced.former) for f in flows(company)) == [(2, False), (3, True)]
    made = company.segment.record_baseline("may").baseline
    assert made.flows == 1  # for what-if they are one


def test_a_flow_keeps_the_workload_that_had_the_address(company: Desk) -> None:
    enforce(company)
    company.flow(WEB, PAY, 443)
    company.segment.detach("web")
    company.attach("eve", WEB, tier="web", scope="pci")
    (flow,) = flows(company)
    assert (flow.source.workload, list(flow.source.groups)) == ("web", ["web"])
    assert [f.source.workload for f in flows(company, source="web")] == ["web"]
    assert flows(company, source="eve") == []
    assert company.segment.record_baseline("may").baseline.flows == 0
    company.flow(WEB, PAY, 443)
    assert sorted((f.source.workload, f.count) for f in flows(company)) == [("eve", 1), ("web", 1)]
    assert company.segment.record_baseline("june").baseline.flows == 1


def test_a_former_workload_is_no_evidence_about_the_one_that_has_its_address(
    company: Desk,
) -> None:
    enforce(company)
    company.flow(WEB, PARTNER, 80)
    company.segment.detach("web")
    company.attach("card", WEB, scope="pci")
    assert [p.count for p in company.segment.get_evidence("scope=pci").allowed] == [0]
    company.flow(WEB, PARTNER, 80)
    assert sum(p.count for p in company.segment.get_evidence("scope=pci").allowed) == 1


def test_a_flow_keeps_the_tags_of_its_ends(company: Desk) -> None:
    enforce(company)
    company.flow(WEB, PAY, 443)
    company.segment.tag("web", {"tier": "old"})
    company.flow(WEB, PAY, 443)
    groups = {tuple(f.source.groups): f.enforced.allowed for f in flows(company)}
    assert groups == {("web",): True, (): False}
    edges = {(e.source, e.allowed, e.denied) for e in company.segment.map().edges}
    assert edges == {("web", 1, 1)}  # once as the group web, once as the workload web


def test_a_would_be_verdict_is_that_of_the_staged_revision_or_none(company: Desk) -> None:
    enforce(company)
    company.flow(WEB, PAY, 443, count=5)
    second = company.segment.stage(POLICY.replace("tcp/443", "tcp/444")).revision.digest
    assert flows(company, staged_differs=True) == []
    company.flow(WEB, PAY, 443, count=2)
    (flow,) = flows(company, staged_differs=True)
    assert (flow.staged.revision, flow.count, flow.staged_count) == (second[:8], 7, 2)
    assert [e.staged_would_deny for e in company.segment.map().edges] == [2]
    company.segment.unstage()
    assert flows(company, staged_differs=True) == []
    assert not flows(company)[0].HasField("staged")
    company.segment.stage(POLICY.replace("tcp/443", "tcp/445"))
    assert flows(company, staged_differs=True) == []
    assert [e.staged_would_deny for e in company.segment.map().edges] == [0]
    company.flow(WEB, PAY, 443)
    assert [f.staged_count for f in flows(company, staged_differs=True)] == [1]
