"""Policy revisions over gRPC, and what they do."""

from __future__ import annotations

from ipaddress import ip_address

import grpc
import msgspec
import pytest
from bulkhead.segment import faults
from bulkhead.v1 import policy_pb2

from controlplane.model.flow import LiveFlow
from labs.waiting import until
from tests.unit.api.segment_serving import (
    PARTNER,
    PAY,
    POLICY,
    WEB,
    Desk,
    enforce,
    refused,
)


def test_a_document_is_checked_with_every_fault_and_its_line(company: Desk) -> None:
    bad = "groups: {web: tier=web}\nrules:\n  - allow web too web\n  - deny absent to web\nx: 1\n"
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


@pytest.mark.parametrize("empty", ["", "{}", "# nothing\n", "name: payroll", "rules: []\ngroups:"])
def test_an_empty_document_needs_a_word_of_consent(company: Desk, empty: str) -> None:
    enforced_before = enforce(company)
    assert "--allow-empty" in company.segment.check(empty).warnings[0].cure
    with refused(grpc.StatusCode.FAILED_PRECONDITION) as caught:
        company.segment.stage(empty)
    assert "allow_empty" in str(caught.value.details())
    assert [r.digest for r in company.segment.revisions()] == [enforced_before]
    digest = company.segment.stage(empty, allow_empty=True).revision.digest
    company.segment.unstage()
    assert company.segment.stage(revision=digest).revision.digest == digest


def test_staging_what_is_enforced_is_ok_and_changes_nothing(company: Desk) -> None:
    digest = enforce(company)
    for _ in range(2):
        staged = company.segment.stage(POLICY).revision
        assert (staged.digest, staged.state) == (digest, staged.STATE_ENFORCED)
        assert company.segment.promote(digest).enforced.digest == digest
    assert [change.move for change in company.segment.changes(0)] == ["promote", "stage"]


@pytest.mark.parametrize(
    "text", ["modes: {default: visibility}", "groups: {a: b=c}", "rules: [log any to any]"]
)
def test_a_document_that_says_something_needs_none(company: Desk, text: str) -> None:
    assert company.segment.stage(text).revision.digest


def test_a_warning_has_the_line_of_what_it_is_about(company: Desk) -> None:
    text = (
        "groups:\n  web: tier=web\n  ghost: tier=ghost\nmodes: {vrfs: {nosuch: full}}\n"
        "rules:\n  - deny web to any\n  - allow web to any on tcp/1\n  - allow any to ghost\n"
        "  - deny any to any in vrf nosuch\n"
    )
    found = {(w.path, w.line) for w in company.segment.check(text).warnings}
    assert found == {
        ("modes.vrfs.nosuch", 4), ("rules.application/20", 7), ("rules.application/30", 8),
        ("groups.ghost", 3), ("rules.application/40", 9),
    }  # fmt: skip
    assert all(w.cure for w in company.segment.check(text).warnings)


def test_a_policy_against_the_nodes_own_sessions_is_refused(company: Desk) -> None:
    against = "rules: [deny any to any on tcp/179]"
    assert "BGP session" in company.segment.check(against).problems[0].problem
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        company.segment.stage(against)
    assert company.segment.stage("rules: [deny workloads to any on tcp/179]").revision.digest


def test_nor_is_it_rolled_back_to(company: Desk) -> None:
    intent = company.pe.intent
    alone = tuple(msgspec.structs.replace(vrf, neighbors=()) for vrf in intent.vrfs)
    company.policy.intent = msgspec.structs.replace(intent, vrfs=alone)
    enforce(company, "rules: [deny any to any on tcp/179]")
    now = enforce(company)
    company.policy.intent = intent
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        company.segment.roll_back()
    assert company.segment.revisions()[0].digest == now
    company.policy.intent = msgspec.structs.replace(intent, vrfs=alone)
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


def test_staged_is_reported_beside_enforced_and_decides_nothing(company: Desk) -> None:
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
    good, bad = (LiveFlow("red", *ends, 6, 4000, port, -1, 5, 500) for port in (443, 22))
    company.kernel.flows["red"] = [good, bad]
    digest = company.segment.stage(POLICY).revision.digest
    assert company.kernel.ended == []
    assert company.segment.promote(digest).ended_flows == 1
    assert company.kernel.ended == [bad]


def test_a_tag_that_goes_ends_the_flows_that_it_allowed(company: Desk) -> None:
    """Only those of the workload are asked for; of a network, all."""
    enforce(company)
    ends = (ip_address(WEB), ip_address(PAY))
    flow = LiveFlow("red", *ends, 6, 4000, 443, -1, 5, 500)
    assert company.kernel.verdict(WEB, PAY, 443).allowed, "control"
    company.kernel.flows["red"] = [flow]
    assert until(lambda: not company.policy.revocation.has_work, 5.0)
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


def test_a_difference_is_reported_by_subject(company: Desk) -> None:
    first = enforce(company)
    company.segment.stage(POLICY.replace("tcp/443", "tcp/8443"))
    lines = company.segment.diff()
    assert [(line.subject, line.after) for line in lines] == [
        ("rule application/10", "allow web to payroll on tcp/8443")
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
