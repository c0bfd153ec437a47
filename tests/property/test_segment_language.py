"""The policy language reads back what it writes and survives any input."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.policy.language.canonical import canonical_text, digest, to_document
from controlplane.policy.language.document import parse_policy, policy_from_value
from controlplane.policy.language.problem import MalformedError, PolicyError
from controlplane.policy.language.selector import matches, parse_selector, text_of
from controlplane.policy.language.sentence import parse_sentence
from controlplane.policy.language.service import parse_service
from tests.property import segment_worlds as worlds

PIECES = st.lists(
    st.sampled_from(
        [
            *("allow", "deny", "to", "on", "in", "vrf", "not", "and", "or", "has", "(", ")", ","),
            *("=", "!=", "==", "any", "web", "tier", "tcp/443", "tcp/9-1", "10.0.0.1", "é", "-"),
        ]
    ),
    max_size=12,
).map(" ".join)
LINES = st.lists(
    st.sampled_from(
        [
            *("groups:", "  web: tier=web", "  x: {id: 0}", "rules:", "  - allow any to any"),
            *("modes: full", "a: &a [*a]", "? [a]: b", "\t", "}", "rules: {security: [1, {}]}"),
            *("- 1", "---"),
        ]
    ),
    max_size=6,
).map("\n".join)


def test_a_document_says_the_same_in_every_form() -> None:
    for seed in range(12):
        policy = worlds.policy(Random(seed))
        document = to_document(policy)
        for again in (
            policy_from_value(document),
            parse_policy(json.dumps(document)),
            parse_policy(yaml.safe_dump(document)),
            parse_policy(canonical_text(policy)),
        ):
            assert digest(again) == digest(policy)
            assert again.rules == policy.rules
            assert again.modes == policy.modes
            assert again.networks == policy.networks


def test_a_rule_reads_back_from_its_sentence() -> None:
    for seed in range(60):
        policy = worlds.policy(Random(seed))
        document = to_document(policy)
        document["rules"] = [
            {"rule": str(rule), "tier": rule.tier.value, "order": rule.order}
            for rule in policy.rules
        ]
        assert policy_from_value(document).rules == policy.rules


def test_a_selector_means_the_same_after_a_round_trip() -> None:
    outcomes = set()
    for seed in range(300):
        rng = Random(seed)
        selector = worlds.selector(rng, depth=3)
        again = parse_selector(text_of(selector))
        assert text_of(again) == text_of(selector)
        tags = {k: rng.choice(v) for k, v in worlds.TAG_VALUES.items() if rng.randrange(2)}
        assert matches(again, tags) == matches(selector, tags)
        outcomes.add(matches(selector, tags))
    assert outcomes == {True, False}


def _fault(read: Callable[[str], object], text: str) -> MalformedError | None:
    try:
        read(text)
    except MalformedError as error:
        return error
    return None


@settings(max_examples=150)
@given(PIECES | st.text(max_size=30))
@example("not " * 500 + "has a")
@example("(" * 500)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    for read in (parse_selector, parse_sentence, lambda t: parse_service(t, {})):
        fault = _fault(read, text)
        assert fault is None or 0 <= fault.position <= len(text)


@settings(max_examples=150, deadline=None)
@given(LINES | st.text(max_size=40))
@example("a: &a [x, x]\nb: *a")
@example("[" * 100)
@example("{a: " * 300)
@example('{"rules": [null]}')
def test_any_document_is_read_or_refused_with_its_problems(text: str) -> None:
    try:
        policy = parse_policy(text)
    except PolicyError as error:
        policy, problems = None, error.problems
        assert problems
    assert policy is None or parse_policy(canonical_text(policy)).rules == policy.rules


def test_nesting_up_to_the_limit_is_read() -> None:
    assert text_of(parse_selector("(" * 40 + "has a" + ")" * 40)) == "has a"
    with pytest.raises(MalformedError, match="nested"):
        parse_selector("(" * 42 + "has a" + ")" * 42)
