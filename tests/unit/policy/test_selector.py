"""Selectors, services and sentences: readings and refusals."""

from __future__ import annotations

import pytest

from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.selector import matches, parse_selector, tag_fault, text_of
from controlplane.policy.language.sentence import parse_sentence
from controlplane.policy.language.service import parse_service

WEB = {"env": "prod", "tier": "web"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("env=prod and tier in (web, app) and not scope=pci", True),
        ("env=prod and tier in (app, db)", False),
        ("env=dev or tier=web and env=prod", True),
        ("(env=dev or tier=web) and env=dev", False),
        ("scope!=pci", True),
        ("scope not in (pci, gdpr)", True),
        ("tier not in (web)", False),
        ("has scope", False),
        ("not has scope and has tier", True),
        ("not not env=prod", True),
        ("not (env=prod or env=dev)", False),
    ],
)
def test_a_selector_selects(text: str, selected: bool) -> None:
    assert matches(parse_selector(text), WEB) is selected


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("b=2   and (a=1 and c=3)", "a=1 and b=2 and c=3"),
        ("a in (y,x,y)", "a in (x, y)"),
        ("a in (x)", "a=x"),
        ("not a=x", "a!=x"),
        ("a=1 and (b=2 or c=3)", "(b=2 or c=3) and a=1"),
        ("a=1 or a=1", "a=1"),
    ],
)
def test_equal_selectors_have_one_text(text: str, canonical: str) -> None:
    assert text_of(parse_selector(text)) == canonical


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 0, "the text ends here"),
        ("env", 3, "write env=VALUE or has env"),
        ("env==prod", 3, "write a single ="),
        ("env=prod tier=web", 9, "'and' or 'or'"),
        ("env in web", 7, "in parentheses"),
        ("env in (web", 11, "close the parenthesis"),
        ("(env=prod", 9, "close the parenthesis"),
        ("env=prod & a=b", 9, "unexpected character '&'"),
        ("Env=prod", 0, "starts with a-z"),
        ("to=x", 0, "expected a tag"),
    ],
)
def test_a_malformed_selector_error_has_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_selector(text)
    assert caught.value.position == column
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "any",
        "tcp",
        "tcp/443",
        "tcp/8000-8100",
        "udp/0",
        "icmp",
        "icmp/echo-request",
        "icmp6/200",
        "gre",
        "proto/99",
        "sctp/36412",
    ],
)
def test_a_service_prints_as_it_is_read(text: str) -> None:
    (service,) = parse_service(text, {})
    assert str(service) == text


def test_services_have_other_spellings() -> None:
    assert (
        parse_service("proto/6", {}) == parse_service("tcp", {}) == parse_service("tcp/0-65535", {})
    )
    assert parse_service("icmp/8", {}) == parse_service("icmp/echo-request", {})
    assert parse_service("web", {"web": parse_service("tcp/80", {})}) == parse_service("tcp/80", {})


@pytest.mark.parametrize(
    "text",
    [
        "tcp/",
        "tcp/x",
        "tcp/65536",
        "tcp/-1",
        "tcp/1-",
        "tcp/²",
        "gre/1",
        "icmp/256",
        "proto/256",
        "icmp/ech",
        "tcp/1-2-3",
        "",
        "443",
        "icmp/1-2",
    ],
)
def test_a_malformed_service_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_service(text, {})


def test_a_sentence_takes_lists_selectors_and_vrfs() -> None:
    said = parse_sentence("log web, not a=b and c in (d, e) to any on tcp, https in vrf red, blue")
    assert said.sources[0] == "web"
    assert text_of(said.sources[1]) == "a!=b and c in (d, e)"  # type: ignore[arg-type]
    assert said.services == ("tcp", "https")
    assert said.vrfs == ("red", "blue")


@pytest.mark.parametrize(
    "text",
    [
        "allow web",
        "allow web to",
        "allow to app",
        "permit web to app",
        "allow web to app on",
        "allow web to app in red",
        "allow web app to db",
        "allow web to app on tcp/1 tcp/2",
        "",
    ],
)
def test_half_a_sentence_is_refused_with_the_shape_of_a_whole_one(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_sentence(text)


def test_tags_must_be_such_that_selectors_can_name_them() -> None:
    assert not tag_fault("env", "prod-1.2")
    assert tag_fault("to", "x")
    assert tag_fault("Env", "x")
    assert tag_fault("env", "a b")
    assert tag_fault("env", "")
