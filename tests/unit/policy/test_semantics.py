"""What policies mean, sentence by sentence; each verdict holds in reference and tables."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controlplane.model.verdict import ALLOW_BIT, LOG_BIT, Verdict
from controlplane.model.workload import Packet
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.document import parse_policy
from tests.unit.policy.company import INVENTORY, decide, policy_text

FULL = "modes: {default: full}"


@pytest.mark.parametrize(
    ("source", "destination", "port", "allowed", "rule"),
    [
        ("web", "app", 8080, True, "application/20"),
        ("web", "app", 8081, False, "default/full"),
        ("web", "db", 5432, False, "default/full"),
        ("app", "db", 5432, True, "application/30"),
        ("app", "far", 5432, True, "application/30"),
        ("db", "app", 8080, False, "default/full"),
        ("devweb", "app", 8080, False, "security/10"),
        ("stranger", "web", 8001, True, "application/10"),
        ("stranger", "web", 443, False, "security/40"),
        ("stranger", "web", 8080, False, "security/40"),
        ("partner", "web", 8080, True, "application/10"),
        ("partner", "app", 8080, False, "default/full"),
        ("stranger", "partner", 9999, False, "default/full"),
        ("web", "lost", 8080, False, "default/pending"),
        ("lost", "web", 443, False, "default/pending"),
    ],
)
def test_rules_tiers_and_defaults(
    source: str, destination: str, port: int, allowed: bool, rule: str
) -> None:
    decision = decide(source, destination, port, FULL)
    assert (decision.allowed, decision.rule) == (allowed, rule)


def test_log_notes_and_goes_on() -> None:
    assert decide("stranger", "web", 22, FULL).logged == ("security/20",)
    assert decide("stranger", "web", 23, FULL).logged == ()


def test_full_closes_both_directions_of_a_group_and_nothing_else() -> None:
    modes = "modes: {groups: {dev: full}}"
    assert decide("devweb", "stranger", 9999, modes).rule == "default/full"
    assert decide("stranger", "devweb", 9999, modes).rule == "default/full"
    assert decide("stranger", "app", 9999, modes).rule == "default/visibility"


def test_selective_closes_named_services_towards_a_group_only() -> None:
    modes = "modes: {groups: {prod: {mode: selective, services: [tcp/5432]}}}"
    assert decide("web", "db", 5432, modes).rule == "default/selective"
    assert decide("web", "db", 5433, modes).allowed
    assert decide("web", "devweb", 5432, modes).allowed
    assert decide("app", "db", 5432, modes).rule == "application/30"


def test_the_mode_of_a_group_beats_that_of_its_vrf_and_the_strictest_group_wins() -> None:
    freed = "modes: {vrfs: {red: full}, groups: {web: visibility, app: visibility}}"
    assert decide("web", "app", 9, freed).allowed
    assert not decide("web", "db", 9, freed).allowed
    both = "modes: {groups: {web: visibility, prod: full}}"
    assert not decide("stranger", "web", 9999, both).allowed


def test_pending_is_denied_even_where_nothing_is_enforced_and_a_missing_vrf_too() -> None:
    assert decide("web", "app", 9999).allowed
    assert decide("web", "lost", 9999).rule == "default/pending"
    assert decide("web", "app", 9999, zone="blue").allowed
    assert decide("web", "app", 9999, zone="green").rule == "default/zone"


def test_icmp_of_the_other_family_is_denied() -> None:
    assert decide("web", "app", 0, protocol=1).allowed
    assert decide("web", "app", 0, protocol=58).rule == "default/malformed"


def test_families_do_not_mix() -> None:
    policy = parse_policy(policy_text())
    four, six = ip_address("10.0.0.1"), ip_address("2001:db8::1")
    with pytest.raises(ValueError, match="families"):
        evaluate(policy, INVENTORY, "red", four, six, Packet(4, 6))


def test_a_verdict_fits_a_mark_and_is_never_zero() -> None:
    assert Verdict(True, 70).word == ALLOW_BIT | 70
    assert Verdict(False, 70, (65,)).word == LOG_BIT | 70
    assert Verdict(False, 2).word == 2
