"""Microsegmentation in the store: whole after any crash."""

from __future__ import annotations

import sqlite3
from ipaddress import ip_address
from pathlib import Path

import pytest

from controlplane.model.attachment import Attachment, MembershipChange
from controlplane.model.history import History
from controlplane.model.instant import BootTime
from controlplane.model.observed import MOST_BASELINES, Baseline, Flow, prune
from controlplane.model.prefix import parse_prefix
from controlplane.model.records import PolicyRecords
from controlplane.model.revision import Signature
from controlplane.model.workload import Packet, Workload
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger
from controlplane.store import Store, StoreError, open_store
from controlplane.store.protocol import StoreDamagedError
from tests.unit.policy.company import policy_text

WORKLOAD = Workload(
    "web", "red", "p1", (parse_prefix("10.0.0.1"), parse_prefix("2001:db8::1")), {"tier": "web"}
)
ATTACHED = Attachment(WORKLOAD, 3, 1000.25, 2)
CHANGE = MembershipChange("web", "attached", "", "tier=web", "ada", 1000.25)


def numbered(number: int) -> Policy:
    return parse_policy(f"name: n{number}\nrules: [allow tier=web to any on tcp/{number}]")


def promote(store: Store, ledger: Ledger, number: int) -> Ledger:
    signed = Signature("ada", float(number), f"step {number}")
    drafted, revision = ledger.draft(numbered(number))
    staged = drafted.stage(revision.digest, signed)
    store.save_ledger(ledger, staged)
    promoted = staged.promote(signed)
    store.save_ledger(staged, promoted)
    return promoted


def reopened(folder: Path) -> PolicyRecords:
    store = open_store(folder)
    try:
        return store.load_policy()
    finally:
        store.close()


def test_workloads_are_there_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save_attachment(ATTACHED, CHANGE)
    store.close()
    kept = reopened(tmp_path)
    assert kept.attachments == {"web": ATTACHED}
    assert kept.history == [CHANGE]
    store = open_store(tmp_path)
    place = ("red", WORKLOAD.addresses[0])
    store.forget_attachment("web", CHANGE, [place], BootTime("b1", 1000.0), 300.0)
    store.close()
    kept = reopened(tmp_path)
    assert (kept.attachments, kept.held_down) == ({}, {place: BootTime("b1", 1000.0)})
    store = open_store(tmp_path)
    store.save_attachment(ATTACHED, None)
    store.close()
    assert reopened(tmp_path).held_down == {}


BODY = "UPDATE workload SET body = replace(body, ?, ?)"
FLOWS = "UPDATE baseline SET flows = replace(flows, ?, ?)"
ODD = {
    "a list of tags": (BODY, '"tags": {"tier": "web"}', '"tags": []'),
    "a number of a tag": (BODY, '"tags": {"tier": "web"}', '"tags": {"tier": 5}'),
    "a VRF that is no name": (BODY, '"vrf": "red"', '"vrf": {}'),
    "no generation": (BODY, '"generation": 3, ', ""),
    "no address": (BODY, "10.0.0.1/32", "10.0.0.256/32"),
    "no digest": ("UPDATE revision SET digest = 'staged'",),
    "a flow without counts": (FLOWS, ", 443, 0, 0, 5, ", ", 443, 0, 0, "),
    "flows without end": (FLOWS, "[", "[" * 5000),
}


@pytest.mark.parametrize("case", ODD)
def test_a_row_of_another_shape_is_damage_with_a_cure(tmp_path: Path, case: str) -> None:
    """It was taken as it is, and a part of the node that used it raised."""
    store = open_store(tmp_path)
    store.save_attachment(ATTACHED, CHANGE)
    promote(store, Ledger(), 1)
    packet = Packet(4, 6, 443)
    ends = ip_address("10.0.0.1"), ip_address("10.0.0.2")
    store.save_baseline(Baseline("b", 1.0, 2.0, "ada", 0, (Flow("red", *ends, packet, 5, 1.0),)))
    store.close()
    assert reopened(tmp_path).attachments == {"web": ATTACHED}  # the control
    statement, *texts = ODD[case]
    connection = sqlite3.connect(tmp_path / "state.db")
    with connection:
        assert connection.execute(statement, texts).rowcount == 1
    connection.close()
    with pytest.raises(StoreDamagedError, match="is damaged"):
        reopened(tmp_path)


def test_revisions_and_their_trail_are_there_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    ledger = promote(store, promote(store, Ledger(), 1), 2)
    drafted, company = ledger.draft(parse_policy(policy_text("modes: {default: full}")))
    staged = drafted.stage(company.digest, Signature("bob", 9.5, "the company's"))
    store.save_ledger(ledger, staged)
    store.close()
    kept = ledger_of(reopened(tmp_path))
    assert kept == staged
    assert [r.state.value for r in kept.revisions.values()] == ["superseded", "enforced", "staged"]
    assert [e.move for e in kept.trail] == ["stage", "promote", "stage", "promote", "stage"]


def test_baselines_are_there_again(tmp_path: Path) -> None:
    ends = (ip_address("2001:db8::1"), ip_address("2001:db8::2"))
    flow = Flow("red", *ends, Packet(6, 58, icmp_type=128), 7, 1.5, 2.5, allowed=False)
    baseline = Baseline("may", 1.0, 3.0, "ada", 4, (flow,))
    store = open_store(tmp_path)
    store.save_baseline(baseline)
    with pytest.raises(StoreError):
        store.save_baseline(baseline)
    store.close()
    assert reopened(tmp_path).baselines == {"may": baseline}


def test_the_file_itself_refuses_two_enforced_revisions(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    promote(store, Ledger(), 1)
    promote(store, reopened_ledger(store), 2)
    store.close()
    with sqlite3.connect(tmp_path / "state.db") as file, pytest.raises(sqlite3.IntegrityError):
        file.execute("UPDATE revision SET state = 'enforced'")
    file.close()


def reopened_ledger(store: Store) -> Ledger:
    return ledger_of(store.load_policy())


def ledger_of(kept: PolicyRecords) -> Ledger:
    return Ledger.kept(kept.revisions, kept.trail)


def test_baselines_have_a_bound_in_the_file_as_in_memory(tmp_path: Path) -> None:
    store, held = open_store(tmp_path), dict[str, Baseline]()
    for number in range(MOST_BASELINES + 3):
        baseline = Baseline(f"b{number}", 0.0, float(number // 2), "ada", 0)
        store.save_baseline(baseline)
        held[baseline.name] = baseline
        prune(held)
    store.close()
    assert reopened(tmp_path).baselines == held
    assert len(held) == MOST_BASELINES


def test_history_has_bounds_in_the_file_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("controlplane.model.history", "controlplane.store.embedded"):
        monkeypatch.setattr(f"{module}.LINES", 30)
        monkeypatch.setattr(f"{module}.LINES_OF_ONE", 5)
    store, held = open_store(tmp_path), History()
    for number in range(100):
        name = "busy" if number % 2 else f"w{number % 14}"
        lines = [MembershipChange(name, "tagged", "", str(number), "ada", float(number))] * 2
        store.save_changes(lines)
        for line in lines:
            held.append(line)
    store.close()
    assert reopened(tmp_path).history == list(held)
    assert len(held) <= 30
    assert len(held.of("busy")) == 5


def test_pruned_revisions_and_entries_leave_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_DRAFTS", "MOST_SUPERSEDED", "MOST_ENTRIES"):
        monkeypatch.setattr(f"controlplane.policy.language.revision.{name}", 3)
    store, ledger = open_store(tmp_path), Ledger()
    for number in range(1, 9):
        ledger = promote(store, ledger, number)
        drafted, _ = ledger.draft(numbered(1000 + number))
        store.save_ledger(ledger, drafted)
        ledger = drafted
    store.close()
    assert ledger_of(reopened(tmp_path)) == ledger
    assert (len(ledger.revisions), len(ledger.trail)) == (3 + 3 + 1, 3)
