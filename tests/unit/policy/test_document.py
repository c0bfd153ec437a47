"""Policy documents: what is accepted, and how faults are reported."""

from __future__ import annotations

import pytest

from controlplane.policy.language.canonical import digest
from controlplane.policy.language.document import parse_policy, policy_from_value
from controlplane.policy.language.policy import Mode
from controlplane.policy.language.positions import Value
from controlplane.policy.language.problem import PolicyError, Problem
from controlplane.policy.language.rule import Tier

GOOD = """
groups:
  web: {id: 101, selector: tier=web}
  app: tier=app
networks:
  partners: [203.0.113.0/24, "2001:db8:9::/48"]
services:
  https: tcp/443
  backup: [tcp/8000-8100, udp/873]
modes:
  default: visibility
  vrfs: {blue: {mode: selective, services: [backup, tcp/22]}}
  groups: {app: full}
rules:
  security:
    - deny env=dev to env=prod
  application:
    - allow tier=web to app on https, icmp/echo-request in vrf red
    - {name: nightly, order: 15, action: allow, from: [web, app], to: partners, services: [backup]}
"""


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return caught.value.problems


def test_sentences_and_structured_rules_make_the_same_kind_of_rule() -> None:
    policy = parse_policy(GOOD)
    assert [str(rule) for rule in policy.rules] == [
        "deny env=dev to env=prod",
        "allow web to app on icmp/echo-request, tcp/443 in vrf red",
        "allow app, web to partners on tcp/8000-8100, udp/873",
    ]
    assert [(rule.id, rule.tier, rule.order) for rule in policy.rules] == [
        ("security/10", Tier.SECURITY, 10),
        ("application/10", Tier.APPLICATION, 10),
        ("nightly", Tier.APPLICATION, 15),
    ]
    assert policy.modes.vrfs["blue"].mode is Mode.SELECTIVE


def test_a_selector_in_a_rule_is_the_declared_group_or_one_with_a_derived_id() -> None:
    groups = parse_policy(GOOD).groups
    assert "tier=web" not in groups
    assert groups["env=prod"].implicit
    assert groups["env=prod"].id == parse_policy(GOOD).groups["env=prod"].id >= 2**31
    assert not groups["app"].implicit


@pytest.mark.parametrize(
    ("text", "path", "line", "words"),
    [
        ("rles: []", "rles", 1, "did you mean 'rules'?"),
        ("groups:\n  web: {sel: a=b}", "groups.web.sel", 2, "unknown field"),
        ("groups: {web: {id: 0, selector: a=b}}", "groups.web.id", 1, "from 1 to 4294967295"),
        ("groups: {web: {id: 4294967296, selector: a=b}}", "groups.web.id", 1, "4294967295"),
        ("groups: {web: tier==web}", "groups.web.selector", 1, "write a single ="),
        ("groups: {any: a=b}", "groups.any", 1, "is no name"),
        ("groups:\n  a: x=y\n  a: x=z", "groups.a", 3, "given twice"),
        ("groups: {a: {id: 7, selector: x=y}, b: {id: 7, selector: x=z}}", "groups.b", 1, "id 7"),
        ("groups: {a: x=y}\nnetworks: {a: [10.0.0.0/8]}", "networks.a", 2, "has this name too"),
        ("networks: {n: [10.0.0.1/8]}", "networks.n[0]", 1, "host bits"),
        ("networks: {n: [&x 10.0.0.0/8, *x]}", "networks.n[1]", 1, "anchors"),
        ("modes: {groups: {absent: full}}", "modes.groups.absent", 1, "unknown group"),
        ("modes: {default: selective}", "modes.default", 1, "needs services"),
        ("modes: {default: {mode: full, services: [tcp]}}", "modes.default.services", 1, "full"),
        ("rules:\n  - allow any too any", "rules[0]", 2, "expected 'to', found 'too' at column 11"),
        ("rules: [allow any to any on tcp/9-1]", "rules[0]", 1, "write 1-9"),
        ("rules: [allow any to any on tpc/1]", "rules[0]", 1, "did you mean 'tcp'?"),
        ("rules: [allow any to 10.0.0.1]", "rules[0]", 1, "declare a network set"),
        ("rules: [allow any to absent]", "rules[0]", 1, "unknown group or network 'absent'"),
        (
            "rules: [{action: allow, from: any, to: any, servces: [tcp]}]",
            "rules[0].servces",
            1,
            "services",
        ),
        ("rules: [{action: allow, to: any}]", "rules[0]", 1, "no from"),
        ("rules: [{action: allow, from: [], to: any}]", "rules[0].from", 1, "names no endpoint"),
        (
            "rules: [{action: deny, from: any, to: any, services: []}]",
            "rules[0].services",
            1,
            "empty",
        ),
        ("rules: [{rule: allow any to any, services: [tcp]}]", "rules[0]", 1, "not in both"),
        ("rules: {urgent: [allow any to any]}", "rules.urgent", 1, "known: emergency"),
        (
            "rules: {security: [{rule: allow any to any, tier: baseline}]}",
            "rules.security[0].tier",
            1,
            "security",
        ),
        ("a: [", "", 1, "not YAML or JSON"),
    ],
)
def test_a_fault_is_reported_with_its_place_and_a_cure(
    text: str, path: str, line: int, words: str
) -> None:
    found = [problem for problem in _problems(text) if problem.path == path]
    assert found
    assert found[0].line == line
    assert words in str(found[0])


def test_every_fault_is_reported_at_once() -> None:
    problems = _problems("groups: {A: x}\nnetworks: {n: [z]}\nrules: [nonsense, allow any to x]")
    paths = [problem.path for problem in problems]
    assert paths == ["groups.A", "networks.n[0]", "rules[0]", "rules[1]"]


def test_equal_order_in_a_tier_is_refused_and_in_two_tiers_is_not() -> None:
    text = "rules:\n- {rule: allow any to any, order: 5, tier: security}\n"
    again = "- {rule: deny any to any, order: 5, tier: TIER}\n"
    (problem,) = _problems(text + again.replace("TIER", "security"))
    assert "line 3: rules[1]: order 5 in tier security is taken by rules[0]" in str(problem)
    assert len(parse_policy(text + again.replace("TIER", "baseline")).rules) == 2


def test_yaml_words_are_no_booleans_and_plain_values_need_no_text() -> None:
    policy = policy_from_value({"groups": {"no": "env=off"}, "rules": ["allow no to any"]})
    assert digest(parse_policy("groups: {no: env=off}\nrules: [allow no to any]")) == digest(policy)


def test_the_digest_follows_the_meaning_and_not_the_wording() -> None:
    said = parse_policy("rules: ['allow a=b and c=d to any on udp/1,tcp/2']")
    written: dict[str, Value] = {
        "action": "allow",
        "from": ["c=d  and (a=b)"],
        "to": "any",
        "services": ["tcp/2", "udp/1"],
    }
    assert digest(policy_from_value({"rules": [written]})) == digest(said)
    other = parse_policy("rules: ['allow a=b and c=d to any on udp/1,tcp/3']")
    assert digest(other) != digest(said)
