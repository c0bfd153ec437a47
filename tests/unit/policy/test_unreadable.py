"""A kept revision that today's language refuses: a remnant, never a node that does not start."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.attachment import Attachment
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import KeptRevision, Signature, State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.affected_vrfs import AffectedVrfs
from controlplane.policy.language.canonical import canonical_text, digest_of
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.outline import PossiblyAffectedVrfs
from controlplane.policy.language.policy import meaning_of
from controlplane.policy.language.revision import (
    MOST_DRAFTS,
    MOST_ENTRIES,
    MOST_SUPERSEDED,
    Ledger,
    MoveError,
    UnreadableError,
)
from controlplane.policy.state import PolicyState
from controlplane.policy.workload_routes import SentGroups
from tests.unit.policy.kernel import FakeKernel

SIGNED = Signature("ada", 1.0, "why")
TEXT = """
name: old
groups: {web: {id: 7, selector: tier=web}}
modes: {default: visibility}
rules:
  - allow web to any on tcp/1
  - allow tier=app to web on tcp/2
  - deny outside to outside on tcp/3 in vrf blue
"""
WEB = Attachment(Workload("web", "red", "p1", (parse_prefix("10.0.0.1"),), {"tier": "web"}), 1, 1.0)
VRFS = {"red": 1, "blue": 2, "green": 3}


def spoiled(text: str) -> str:
    """What an older program took: a rule with an empty list of services."""
    document: dict[str, Any] = json.loads(canonical_text(parse_policy(text)))
    document["rules"][0]["services"] = []
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def kept(document: str, state: State) -> KeptRevision:
    return KeptRevision(digest_of(document), state, document)


OLD = kept(spoiled(TEXT), State.ENFORCED)


def state_with(*revisions: KeptRevision) -> PolicyState:
    state = PolicyState(EndpointRegistry({"web": WEB}), Ledger.kept(revisions, ()))
    state.set_vrfs(VRFS)
    return state


def test_with_an_unreadable_enforced_revision_the_kernel_keeps_what_it_has() -> None:
    state = state_with(OLD)
    assert [revision.name for revision in state.unreadable()] == ["old"]
    assert state.is_frozen
    assert state.begin() == []
    other = Attachment(Workload("db", "red", "p1", (parse_prefix("10.0.0.2"),)), 1, 1.0)
    kernel = FakeKernel()
    for orders in (state.attach(other, 1.0), state.detach("db", 2.0), state.expire(1000.0)):
        kernel.take(orders)
    assert kernel.held == {}
    assert state.set_vrfs({"red": 1, "blue": 2}) == []


def test_its_vrfs_stay_under_policy_and_its_groups_are_announced() -> None:
    state = state_with(OLD)
    assert set(state.zones) == {"red", "blue"}, "where workloads are, and where it acts"
    meaning = meaning_of(7, "web")
    assert meaning is not None
    wanted = SentGroups(frozenset({7}), None, frozenset({meaning}))
    assert state.groups_to_send(WEB.workload) == wanted


def test_promoting_a_readable_revision_repairs() -> None:
    state = state_with(OLD)
    state.begin()
    kernel = FakeKernel()
    drafted, fresh = state.ledger.draft(parse_policy("modes: {default: full}"))
    staged = drafted.stage(fresh.digest, SIGNED)
    kernel.settle(state, state.take_ledger(staged))
    assert kernel.held == {}, "not before it is enforced"
    kernel.settle(state, state.take_ledger(staged.promote(SIGNED)))
    assert not state.is_frozen
    assert kernel.held[Slot.ENFORCED] is not None
    assert kernel.under_policy == VRFS
    with pytest.raises(UnreadableError):
        state.ledger.roll_back(SIGNED)


def test_an_unreadable_staged_revision_is_not_evaluated_and_not_promoted() -> None:
    good, _ = Ledger().draft(parse_policy(TEXT))
    (revision,) = good.revisions.values()
    enforced = KeptRevision(revision.digest, State.ENFORCED, revision.document)
    state = state_with(enforced, kept(OLD.document, State.STAGED))
    kernel = FakeKernel()
    kernel.settle(state, state.begin())
    assert kernel.held[Slot.ENFORCED] is not None
    assert Slot.STAGED not in kernel.held
    with pytest.raises(UnreadableError, match="is empty"):
        state.ledger.promote(SIGNED)
    assert state.ledger.unstage(SIGNED).in_state(State.STAGED) is None


@pytest.mark.parametrize(
    "document",
    [
        *("", "{", "[1]", '{"rules": 5}', "[" * 5000),
        '{"rules": [{"from": [{}], "vrfs": 1, "action": "deny"}]}',
    ],
)
def test_a_document_that_is_no_policy_at_all_is_a_remnant_too(document: str) -> None:
    state = state_with(kept(document, State.ENFORCED))
    assert state.is_frozen
    assert set(state.zones) == set(VRFS), "closed: what it said is not known"
    assert state.begin() == []
    assert state.groups_to_send(WEB.workload) == SentGroups(frozenset())


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("networks", {"n": []}),
        ("networks", {"n": ["::ffff:203.0.113.0/120"]}),
        ("modes", {"default": {"mode": "visibility"}, "vrfs": {"all": {"mode": "full"}}}),
        ("groups", {"web": {"id": 7, "selector": " or ".join(f"a{n}=b" for n in range(300))}}),
    ],
)
def test_what_the_language_took_before_it_was_stricter_is_a_named_remnant(
    section: str, value: object
) -> None:
    document = json.loads(canonical_text(parse_policy(TEXT))) | {section: value}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    state = state_with(kept(text, State.ENFORCED))
    assert [(r.name, bool(r.problem)) for r in state.unreadable()] == [("old", True)]
    assert state.is_frozen
    assert state.begin() == []


def test_a_text_that_was_changed_in_the_file_is_a_remnant() -> None:
    good = canonical_text(parse_policy(TEXT))
    state = state_with(KeptRevision(digest_of(good), State.ENFORCED, good.replace("deny", "allow")))
    assert "was changed" in state.unreadable()[0].problem
    assert not state_with(kept(good, State.ENFORCED)).unreadable()  # the control


def test_a_parser_that_raises_something_else_makes_a_remnant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stricter(_value: object) -> None:
        raise ValueError("since version 9 a policy needs an owner")

    monkeypatch.setattr("controlplane.policy.language.revision.policy_from_value", stricter)
    good, _ = Ledger().draft(parse_policy(TEXT))
    (revision,) = good.revisions.values()
    state = state_with(KeptRevision(revision.digest, State.ENFORCED, revision.document))
    assert "needs an owner" in state.unreadable()[0].problem
    assert state.begin() == []


def test_drafts_and_superseded_revisions_are_not_parsed_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[object] = []
    monkeypatch.setattr("controlplane.policy.language.revision.policy_from_value", parsed.append)
    drafts = [KeptRevision(f"{n:064x}", State.DRAFT, OLD.document) for n in range(50)]
    former = [KeptRevision(f"{n:064x}", State.SUPERSEDED, OLD.document) for n in range(50, 99)]
    state = state_with(*drafts, *former)
    state.begin()
    assert parsed == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["visibility", "full"]), st.sampled_from(["allow", "deny", "log", "pass"]),
       st.sampled_from(["any", "outside", "n", "tier=web", "workloads"]),
       st.sampled_from(["any", "outside", "n", "tier=web", "workloads"]),
       st.sampled_from(["", " in vrf blue", " in vrf red, green"]))  # fmt: skip
def test_which_vrfs_a_document_concerns_is_made_out_as_when_it_is_read(
    mode: str, action: str, source: str, destination: str, where: str
) -> None:
    policy = parse_policy(
        f"networks: {{n: [192.0.2.0/24]}}\nmodes: {{vrfs: {{green: {mode}}}}}\n"
        f"rules: [{{rule: '{action} {source} to {destination} on tcp/1{where}'}}]"
    )
    made_out, read = PossiblyAffectedVrfs(canonical_text(policy)), AffectedVrfs(policy)
    for vrf in VRFS:
        assert made_out.has(vrf) == read.has(vrf), vrf


# -- bounds ---------------------------------------------------------------------------------------


def numbered(number: int):  # type: ignore[no-untyped-def]
    return parse_policy(f"name: n{number}\nrules: [allow any to any on tcp/{number}]")


def test_drafts_superseded_revisions_and_the_trail_have_bounds() -> None:
    ledger = Ledger()
    for number in range(1, MOST_SUPERSEDED + 30):
        ledger, revision = ledger.draft(numbered(number))
        ledger = ledger.stage(revision.digest, SIGNED).promote(SIGNED)
    states = [r.state for r in ledger.revisions.values()]
    assert states.count(State.SUPERSEDED) == MOST_SUPERSEDED
    assert ledger.revisions.keys() >= {ledger.trail[-1].before, ledger.trail[-1].after}
    enforced = ledger.in_state(State.ENFORCED)
    for number in range(1000, 1000 + MOST_DRAFTS + 30):
        ledger, _ = ledger.draft(numbered(number))
    states = [r.state for r in ledger.revisions.values()]
    assert states.count(State.DRAFT) == MOST_DRAFTS
    assert ledger.in_state(State.ENFORCED) == enforced
    assert numbered(1000).name not in {r.name for r in ledger.revisions.values()}, "the oldest"


def test_the_previous_revision_outlives_any_number_of_moves() -> None:
    ledger = Ledger()
    for number in (1, 2):
        ledger, revision = ledger.draft(numbered(number))
        ledger = ledger.stage(revision.digest, SIGNED).promote(SIGNED)
    ledger, third = ledger.draft(numbered(3))
    for _ in range(MOST_ENTRIES):
        ledger = ledger.stage(third.digest, SIGNED).unstage(SIGNED)
    assert len(ledger.trail) == MOST_ENTRIES
    assert ledger.roll_back(SIGNED).in_state(State.ENFORCED).name == "n1"  # type: ignore[union-attr]


def test_without_a_previous_one_a_roll_back_is_refused() -> None:
    ledger, revision = Ledger().draft(numbered(1))
    with pytest.raises(MoveError, match="no earlier"):
        ledger.stage(revision.digest, SIGNED).promote(SIGNED).roll_back(SIGNED)
