"""What-if, recommendations, explanations and warnings on a small company."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from controlplane.model.workload import Inventory, Packet, RemotePrefix
from controlplane.policy.compile.directory import Directory, group_ids
from controlplane.policy.compile.full import compile_policy
from controlplane.policy.compile.reader import Reader
from controlplane.policy.insight.explain import explain
from controlplane.policy.insight.lint import warnings
from controlplane.policy.insight.observed import forbidden
from controlplane.policy.insight.recommend import recommend, services_of
from controlplane.policy.insight.whatif import what_if
from controlplane.policy.language.document import parse_policy
from tests.unit.policy.company import ADDRESS, INVENTORY, compiled, flow, policy_text

FULL = "modes: {default: full}"


def test_enforcing_only_narrows_and_names_what_it_would_break() -> None:
    flows = [flow("web", "app", 8080), flow("db", "web", 8000), flow("app", "db", 5432)]
    answer = what_if(compiled(), compiled(FULL), flows)
    assert answer.narrows
    assert [change.flow for change in answer.broken] == [flows[1]]
    assert answer.broken[0].before.rule == "default/visibility"
    assert answer.broken[0].after.rule == "default/full"
    assert not what_if(compiled(FULL), compiled(), flows).narrows
    assert forbidden(Reader(compiled(FULL).tables), flows) == [flows[1]]


def test_one_more_port_opens_exactly_that() -> None:
    text = policy_text(FULL).replace("tcp/5432", "tcp/5432-5433")
    answer = what_if(compiled(FULL), compile_policy(parse_policy(text), INVENTORY), [])
    assert not answer.narrows
    assert {str(s) for pair in answer.pairs for s in pair.opened} == {"tcp/5433"}
    assert {pair.destination[0].names for pair in answer.pairs} == {frozenset({"db", "prod"})}
    assert not any(pair.closed for pair in answer.pairs)


def test_nothing_changes_between_a_policy_and_itself() -> None:
    answer = what_if(compiled(FULL), compiled(FULL), [flow("web", "db", 1)])
    assert not answer.flows
    assert not answer.pairs


def test_the_recommender_proposes_the_narrowest_groups_and_joins_ports() -> None:
    backup = [flow("db", "app", port, hits=2) for port in (8000, 8003, 8009, 8020, 9999)]
    ruled = flow("web", "app", 8080, hits=99)
    lost, outside = flow("web", "lost", 5), flow("partner", "db", 1521)
    advice = recommend(compiled(), INVENTORY, [*backup, ruled, lost, outside])
    assert [proposal.sentence for proposal in advice.proposals] == [
        "allow db to app on tcp/8000-8020, tcp/9999",
        "allow partners to db on tcp/1521",
    ]
    first = advice.proposals[0]
    assert (first.hits, first.pairs_seen, first.pairs_possible) == (10, 1, 2)
    assert (first.first, first.last) == (10.0, 20.0)
    assert [unplaced.flow for unplaced in advice.unplaced] == [lost]


def test_a_proposal_once_accepted_is_not_made_again_and_allows_the_flow() -> None:
    seen = [flow("db", "app", 8000)]
    (proposal,) = recommend(compiled(), INVENTORY, seen).proposals
    text = policy_text(FULL) + f"    - {proposal.sentence}\n"
    accepted = compile_policy(parse_policy(text), INVENTORY)
    assert not recommend(accepted, INVENTORY, seen).proposals
    assert not forbidden(Reader(accepted.tables), seen)


def test_few_ports_stay_single_and_icmp_types_are_never_joined() -> None:
    ports = [Packet(4, 6, dport=port) for port in (80, 81, 443)]
    types = [Packet(4, 1, icmp_type=kind) for kind in (3, 8, 11, 12)]
    assert [str(service) for service in services_of([*ports, *types])] == [
        "icmp/destination-unreachable",
        "icmp/echo-request",
        "icmp/time-exceeded",
        "icmp/parameter-problem",
        "tcp/80",
        "tcp/81",
        "tcp/443",
    ]


def test_an_explanation_names_groups_and_every_rule_asked() -> None:
    src, dst = ip_address(ADDRESS["partner"]), ip_address(ADDRESS["web"])
    told = explain(parse_policy(policy_text(FULL)), INVENTORY, "red", src, dst, Packet(4, 6, 8080))
    assert [(step.rule.id, step.answer) for step in told.steps] == [
        ("security/10", "another source"),
        ("security/20", "another service"),
        ("security/30", "pass"),
        ("application/10", "allow"),
    ]
    text = "\n".join(told.lines())
    assert "203.0.113.9 (outside; internet, partners)" in text
    assert "workload web; prod, web" in text
    assert "allowed by application/10" in text


def test_the_ids_that_travel_with_a_route_mean_the_same_groups_elsewhere() -> None:
    policy = parse_policy(
        "groups: {web: {id: 7, selector: tier=web}}\nrules: [deny env=dev to any]"
    )
    workload = replace(INVENTORY.workloads[0], tags={"tier": "web", "env": "dev"})
    ids = group_ids(policy, workload)
    assert ids == {7, policy.groups["env=dev"].id}
    remote = RemotePrefix("red", workload.addresses[0], ids)
    here = Directory(policy, Inventory(frozenset({"red"}), (workload,)))
    there = Directory(policy, Inventory(frozenset({"red"}), (), (remote,)))
    assert there.groups_of(remote) == here.groups_of(workload) == frozenset({"web", "env=dev"})
    assert Directory(parse_policy(""), Inventory(frozenset())).groups_of(remote) == frozenset()


def test_warnings_name_idle_rules_empty_groups_and_hiding_network_sets() -> None:
    text = """
groups: {web: tier=web, ghost: tier=ghost}
networks: {lan: [10.0.0.0/8]}
rules:
  - deny web to any
  - allow web to any on tcp/443
  - deny lan to ghost
  - deny lan to web
"""
    found = warnings(compile_policy(parse_policy(text), INVENTORY), INVENTORY)
    assert [problem.path for problem in found] == [
        "rules.application/20",
        "rules.application/30",
        "groups.ghost",
        "networks.lan",
    ]


def test_flows_that_would_break_and_those_that_would_open_are_apart() -> None:
    flows = [flow("app", "db", 5432), flow("db", "web", 8000)]
    answer = what_if(compiled(FULL), compiled(), flows)
    assert (answer.broken, [change.flow for change in answer.opened]) == ((), [flows[1]])
    back = what_if(compiled(), compiled(FULL), flows)
    assert ([change.flow for change in back.broken], back.opened) == ([flows[1]], ())


def test_pairs_that_change_differ_in_what_their_ends_are_or_would_be() -> None:
    other = compile_policy(parse_policy("modes: {default: full}"), INVENTORY)
    pairs = what_if(compiled(), other, []).pairs
    assert len({(p.zone, p.source[1], p.destination[1]) for p in pairs}) < len(pairs), "control"
    assert len({(p.zone, p.source, p.destination) for p in pairs}) == len(pairs)


def test_the_recommender_says_that_the_policy_declares_no_group() -> None:
    bare = compile_policy(parse_policy("modes: {default: visibility}"), INVENTORY)
    (lost, *_) = recommend(bare, INVENTORY, [flow("web", "db", 1)]).unplaced
    assert "is in no group: the policy declares none: declare one" in lost.why
    assert "tag it" not in lost.why


def test_the_reason_of_a_pending_end_is_a_sentence_that_names_it() -> None:
    ends = (ip_address(ADDRESS["partner"]), ip_address(ADDRESS["lost"]))
    found = explain(parse_policy(FULL), INVENTORY, "red", *ends, Packet(4, 6, dport=1))
    assert found.decision.why == (
        f"the groups of the destination, {ADDRESS['lost']}, are not known (pending or in hold-down)"
    )
