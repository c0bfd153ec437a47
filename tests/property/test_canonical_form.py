"""Every document that is accepted survives its own canonical form.

A revision is kept in that form: one that does not read back was once kept, and then the node did
not start.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.model.revision import KeptRevision, State
from controlplane.policy.language.canonical import canonical_text, digest
from controlplane.policy.language.document import parse_policy, policy_from_value
from controlplane.policy.language.problem import PolicyError
from controlplane.policy.language.revision import Revision

TERMS = st.sampled_from(
    ["a=b", "has a", "not a=b", "a in (b, c)", "a not in (b)", "a!=b", "not has c", "x=y"]
)


def nested(level: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(level, st.sampled_from(["and", "or"]), level).map(" ".join),
        level.map("({})".format),
        level.map("not ({})".format),
    )


SELECTORS = st.recursive(TERMS, nested, max_leaves=12)
SERVICES = st.sampled_from(
    [
        "any",
        "tcp",
        "tcp/443",
        "udp/1-9",
        "icmp/echo-request",
        "proto/47",
        "s",
        "t",
        "empty",
        "icmp6",
    ]
)
TEXTS = st.one_of(st.sampled_from(["", "x", "in vrf red", "é", "\x00"]), st.text(max_size=6))
ENDPOINTS = st.one_of(st.sampled_from(["any", "g", "h", "n", "workloads", "outside"]), SELECTORS)
MODES = st.one_of(
    st.sampled_from(["visibility", "full", "selective"]),
    st.builds(
        lambda services: {"mode": "selective", "services": services}, st.lists(SERVICES, max_size=2)
    ),
)
SENTENCES = st.builds(
    "{} {} to {} on {}".format,
    st.sampled_from(["allow", "deny", "log", "pass"]), ENDPOINTS, ENDPOINTS, SERVICES,
)  # fmt: skip


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


STRUCTURED = st.tuples(
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["allow", "deny", "log", "pass"]),
            "from": st.lists(ENDPOINTS, min_size=1, max_size=2),
            "to": st.one_of(ENDPOINTS, st.lists(ENDPOINTS, max_size=2)),
        }
    ),
    optional(
        services=st.lists(SERVICES, max_size=2),
        vrfs=st.lists(TEXTS, max_size=2),
        comment=TEXTS,
        name=st.one_of(st.sampled_from(["r1", "application/10", "application/20"]), TEXTS),
        order=st.integers(-1, 40),
        tier=st.sampled_from(["security", "application"]),
    ),
).map(lambda parts: parts[0] | parts[1])
RULES = st.lists(st.one_of(SENTENCES, STRUCTURED), max_size=4)
DOCUMENTS = optional(
    name=TEXTS,
    groups=st.dictionaries(
        st.sampled_from(["g", "h"]),
        st.one_of(SELECTORS, st.builds(lambda i, s: {"id": i, "selector": s},
                                       st.integers(0, 3), SELECTORS)),
    ),
    networks=st.dictionaries(
        st.sampled_from(["n", "g"]), st.lists(st.sampled_from(["10.0.0.0/8", "::/0"]), max_size=2)
    ),
    services=st.dictionaries(
        st.sampled_from(["s", "t", "empty"]),
        st.one_of(st.none(), SERVICES, st.lists(SERVICES, max_size=2)),
    ),
    modes=optional(
        default=MODES,
        vrfs=st.dictionaries(st.one_of(st.just("red"), TEXTS), MODES, max_size=2),
        groups=st.dictionaries(st.sampled_from(["g", "h"]), MODES, max_size=2),
    ),
    rules=st.one_of(RULES, st.fixed_dictionaries({"security": RULES, "application": RULES})),
)  # fmt: skip


def deep(levels: int) -> str:
    """Each level costs two in the canonical form, which writes the parentheses of `and`."""
    text = "x=y"
    for _ in range(levels):
        text = f"(a=b and {text} or has c)"
    return text


def check(policy_text: str | None, value: Any = None) -> bool:
    """Whether a document is accepted; if so, it has to read back as what it is."""
    try:
        policy = policy_from_value(value) if policy_text is None else parse_policy(policy_text)
    except PolicyError:
        return False
    text = canonical_text(policy)
    again = policy_from_value(json.loads(text))
    assert again == policy
    assert canonical_text(again) == text
    revision = Revision.of(policy)
    kept = Revision.kept(KeptRevision(digest(policy), State.DRAFT, revision.document))
    assert kept.policy == policy
    assert kept.name == policy.name
    return True


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
@example({"services": {"s": None}, "rules": ["allow any to any on s"]})
@example({"services": {"s": []}, "modes": {"default": {"mode": "selective", "services": ["s"]}}})
@example({"rules": [f"allow {deep(21)} to any"]})
@example({"groups": {"g": deep(21)}, "rules": []})
def test_an_accepted_document_survives_its_canonical_form(value: dict[str, Any]) -> None:
    check(None, value)


def test_the_documents_are_worth_it() -> None:
    accepted: list[bool] = []

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(DOCUMENTS)
    def count(value: dict[str, Any]) -> None:
        accepted.append(check(None, value))

    count()
    assert accepted.count(True) > 40
    assert accepted.count(False) > 40


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {s: }\nrules: [allow any to any on s]", "services.s: names no service"),
        ("services: {s: []}\nrules: []", "services.s: names no service"),
        ("services: {s: }\nmodes: {default: {mode: selective, services: [s]}}\nrules: []",
         "services.s: names no service"),
        ("modes: {default: {mode: selective, services: []}}\nrules: []",
         "selective needs services"),
        (f"rules: ['allow {deep(21)} to any']", "too deeply nested"),
        (f"groups: {{g: '{deep(21)}'}}\nrules: []", "too deeply nested"),
    ],
)  # fmt: skip
def test_what_would_not_survive_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(text)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "services: {s: tcp/1}\nrules: [allow any to any on s]",
        "services: {s: tcp/1}\nmodes: {default: {mode: selective, services: [s]}}\nrules: []",
        f"rules: ['allow {deep(19)} to any']",
        'name: "\\u00e9"',
    ],
)
def test_the_controls_are_accepted(text: str) -> None:
    assert check(text)
