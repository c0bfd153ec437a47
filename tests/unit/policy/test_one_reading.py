"""Every field is read in one way; what cannot mean anything is refused with line and cure."""

from __future__ import annotations

import pytest

from controlplane.policy.compile.full import compile_policy
from controlplane.policy.insight.idle_rules import MOST_EXPLAINED
from controlplane.policy.insight.lint import warnings
from controlplane.policy.language.canonical import canonical_text, digest
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.positions import MAX_DEPTH
from controlplane.policy.language.problem import PolicyError, Problem
from controlplane.policy.language.syntax import is_vrf_name
from pe.config import values
from tests.unit.policy.company import INVENTORY


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return caught.value.problems


RULE = "rules: [{action: allow, from: any, to: any, "


@pytest.mark.parametrize(
    ("commas", "elements"),
    [
        (RULE + 'vrfs: "red, blue"}]', RULE + "vrfs: [red, blue]}]"),
        (RULE + 'services: "tcp/1, udp/2"}]', RULE + "services: [tcp/1, udp/2]}]"),
        (RULE + 'services: ["tcp/1,udp/2", gre]}]', RULE + "services: [tcp/1, udp/2, gre]}]"),
        ('networks: {n: "10.0.0.0/8, 192.0.2.0/24"}', "networks: {n: [10.0.0.0/8, 192.0.2.0/24]}"),
        (
            'modes: {default: {mode: selective, services: "tcp/1, tcp/2"}}',
            "modes: {default: {mode: selective, services: [tcp/1, tcp/2]}}",
        ),
        (
            'services: {s: "tcp/1, udp/2"}\nrules: [allow any to any on s]',
            "services: {s: [tcp/1, udp/2]}\nrules: [allow any to any on s]",
        ),
        (
            'rules: [{action: allow, from: "a=b, c in (d, e)", to: any}]',
            'rules: [{action: allow, from: [a=b, "c in (d, e)"], to: any}]',
        ),
    ],
)
def test_commas_and_lists_mean_the_same_in_every_field(commas: str, elements: str) -> None:
    assert digest(parse_policy(commas)) == digest(parse_policy(elements))


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (RULE + '\n vrfs: "red,,blue"}]', "rules[0].vrfs", "a name is missing"),
        (RULE + '\n vrfs: "red, "}]', "rules[0].vrfs", "a name is missing"),
        ("services:\n  tcp: udp/53", "services.tcp", "protocol or an ICMP type"),
        ("services:\n  icmp: tcp/22", "services.icmp", "protocol or an ICMP type"),
        ("services:\n  proto: tcp/22", "services.proto", "protocol or an ICMP type"),
        ("services:\n  echo-request: tcp/7", "services.echo-request", "call it my-echo-request"),
        ("services:\n  s: ", "services.s", "names no service"),
        ("services:\n  s: []", "services.s", "names no service"),
        ("networks:\n  n: ", "networks.n", "names no prefix"),
        ("networks:\n  n: []", "networks.n", "names no prefix"),
        ('networks:\n  n: ["::ffff:203.0.113.0/120"]', "networks.n[0]", "203.0.113.0/24?"),
        ('networks:\n  n: ["::ffff:0:0/96"]', "networks.n[0]", "no packet carries"),
        ("networks:\n  n: [10.0.0.0/08]", "networks.n[0]", "leading zeros"),
        ("networks:\n  n: [10.0.0.0/٨]", "networks.n[0]", "no prefix length"),
        ("groups:\n  a: {id: 010, selector: a=b}", "groups.a.id", "leading zeros"),
        ("groups:\n  a: {id: \uff11\uff10, selector: a=b}", "groups.a.id", "write it with 0-9"),
        ("rules:\n - {rule: allow any to any, order: ٣}", "rules[0].order", "write it with 0-9"),
        ("rules:\n - allow any to any on tcp/\uff10", "rules[0]", "unexpected character"),
        ("services:\n  s: icmp/٣", "services.s", "is no type"),
        ("services:\n  s: tcp/0080", "services.s", "without leading zeros"),
        ("rules:\n - allow any to any in vrf all", "rules[0]", "cannot be a VRF"),
        ("rules:\n - allow any to any in vrf red/blue", "rules[0]", "cannot be a VRF"),
        ("modes: {vrfs:\n  {a-name-beyond-15-letters: full}}",
         "modes.vrfs.a-name-beyond-15-letters", "cannot be a VRF"),
        ("groups:\n  a: !x b=c", "groups.a", "the tag !x"),
    ],
)  # fmt: skip
def test_what_cannot_mean_anything_is_refused_with_line_and_cure(
    text: str, path: str, words: str
) -> None:
    (problem,) = problems(text)
    assert (problem.path, problem.line) == (path, 2)
    assert words in str(problem)
    assert problem.cure


def test_a_rule_on_a_service_means_what_the_service_says() -> None:
    named = parse_policy("services: {my-tcp: udp/53}\nrules: [allow any to any on my-tcp]")
    assert [str(rule) for rule in named.rules] == ["allow any to any on udp/53"]


def test_what_means_nothing_here_is_a_warning_by_name() -> None:
    text = "modes: {vrfs: {NOSUCH: full, red: full}}\nrules: ['deny any to any in vrf Red, blue']"
    found = [str(each) for each in warned(text)]
    assert found == [
        "modes.vrfs.NOSUCH: means nothing here: this node has no VRF 'NOSUCH'"
        " (right if other nodes have it; VRFs here: blue, red)",
        "rules.application/10: means nothing here: this node has no VRF 'Red'"
        " (did you mean 'red'?)",
    ]
    assert warned("modes: {vrfs: {red: full}}\nrules: ['deny any to any in vrf red, blue']") == ()


def warned(text: str) -> tuple[Problem, ...]:
    return warnings(compile_policy(parse_policy(text), INVENTORY), INVENTORY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "groups: {web: tier=web}\nrules:\n"
            "  - {name: shut, rule: deny web to any}\n  - allow web to any on tcp/443",
            "rules.application/20: never takes effect: rule shut decides first",
        ),
        (
            "rules:\n  - deny tier=web to any on tcp\n  - deny tier=app to any\n"
            "  - 'allow tier=web, tier=app to any on tcp/443'",
            "rule application/10, application/20 decide first",
        ),
        (
            "rules:\n  - pass any to any\n  - deny any to any",
            "rules.application/20: never takes effect: rule application/10 decides first",
        ),
        (
            "groups: {ghost: tier=ghost}\nrules:\n  - allow ghost to any",
            "rules.application/10: never takes effect: no workload matches ghost",
        ),
        (
            "groups: {ghost: tier=ghost}\nrules:\n  - allow ghost to any",
            "groups.ghost: no workload matches ghost",
        ),
        (
            "rules:\n  - deny tier=web to tier=app in vrf blue",
            "rules.application/10: never takes effect: no workload matches tier=web",
        ),
        (
            "rules:\n  - allow any to tier=ghost",
            "rules.application/10: no workload matches tier=ghost",
        ),
    ],
)
def test_a_warning_says_which_rule_or_name(text: str, words: str) -> None:
    found = [str(each) for each in warned(text)]
    assert any(words in each for each in found), found
    assert all(each.cure for each in warned(text))


def test_a_document_beyond_the_explained_rules_is_warned_of_as_a_whole() -> None:
    rules = "".join(f"  - allow any to any on tcp/{n}\n" for n in range(1, MOST_EXPLAINED + 11))
    found = warned(f"rules:\n  - deny any to any\n{rules}")
    assert [each.path for each in found] == [
        f"rules.application/{10 * n}" for n in range(2, MOST_EXPLAINED + 12)
    ]
    assert "rule application/10 decides first" in found[MOST_EXPLAINED - 1].message
    assert "an earlier rule" in found[MOST_EXPLAINED].message


@pytest.mark.parametrize("name", ["red", "CUST_A", "25ge", "a" * 15, "all", "default", "main",
                                  "local", "core", "lo", "bulkhead-void", "a" * 16, "-a", "a/b",
                                  "", "rot\u00e9"])  # fmt: skip
def test_the_language_and_the_configuration_agree_on_names_of_vrfs(name: str) -> None:
    try:
        values._VRF(name)
        taken = True
    except ValueError:
        taken = False
    assert is_vrf_name(name) == taken


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\tb: 1", 2, "a tab in the indentation"),
        ("rules:\n\t- allow any to any", 2, "a tab in the indentation"),
        ("groups:\n  a: b=c\n  \tc: d=e", 3, "a tab in the indentation"),
        ("name: x\nrules: [\x01]", 2, "control characters"),
        ("name: x\nrules: [\ud800]", 2, "UTF-8"),
        ("name: x\n? [a]\n: b", 2, "a key must be a word"),
        ("rules: [\n" + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "]", 2, "too deeply nested"),
        ("name: x\nrules: allow any to any", 2, "expected a list"),
        ("name: x\nrules: [5]", 2, "expected a map"),
        ("name: x\ngroups: [a]", 2, "expected a map"),
        ("name:\n  5", 1, "expected text"),
        ("groups:\n  a: {id: x, selector: c=d}", 2, "expected a number"),
        ("groups:\n  a: 'b in ('", 2, "expected a value"),
        ("groups:\n  a: 'b in (c'", 2, "close the parenthesis"),
        ("rules:\n - allow any to any in vrf", 2, "in vrf NAME"),
        ("rules:\n - allow any to any in red", 2, "in vrf NAME"),
    ],
)
def test_every_fault_has_line_and_cure(text: str, line: int, words: str) -> None:
    found = problems(text)
    assert all(problem.line and problem.cure for problem in found), found
    assert any(problem.line == line and words in str(problem) for problem in found), found


def test_the_cure_stands_once_and_in_its_own_field() -> None:
    (problem,) = problems("rules: [allow any to any on tpc/1]")
    assert problem.cure == "did you mean 'tcp'?"
    assert problem.cure not in problem.message


def test_what_was_taken_reads_back() -> None:
    policy = parse_policy(RULE + 'vrfs: "red, Blue_1"}]')
    assert parse_policy(canonical_text(policy)) == policy
