"""A number in a verdict has the name that it had when the verdict was given."""

from __future__ import annotations

from controlplane.model.workload import Inventory
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.insight.rule_names import MOST_TERMS, RuleNames
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision

ALLOW = "allow any to any on tcp/443"
FULL = 2
"""The number of default/full."""


class Slot:
    """Revisions in one slot, one after the other; the kernel holds each at once, or not."""

    def __init__(self) -> None:
        self.names, self._books = RuleNames(), IdAllocators()

    def take(self, *rules: str, held_at: float | None) -> IncrementalCompiler:
        revision = Revision.of(parse_policy("rules: [" + ", ".join(rules) + "]"))
        compiler = IncrementalCompiler(revision.policy, Inventory(frozenset({"red"})), self._books)
        self._follow(compiler, held_at)
        return compiler

    def empty(self, held_at: float) -> None:
        self._follow(None, held_at)

    def _follow(self, compiler: IncrementalCompiler | None, held_at: float | None) -> None:
        term = self.names.follow(compiler)
        if term is not None and held_at is not None:
            term.begin(held_at)


def number_of(compiler: IncrementalCompiler, rule: str) -> int:
    return next(number for number, each in compiler.numbered_rules if str(each) == rule)


def revision_of(compiler: IncrementalCompiler) -> str:
    return f"{compiler.policy.revision:08x}"


def test_a_rule_that_moved_keeps_its_number_and_has_the_id_of_the_time() -> None:
    slot = Slot()
    one = slot.take(ALLOW, held_at=10.0)
    two = slot.take("deny any to any on tcp/22", ALLOW, held_at=20.0)
    number = number_of(one, ALLOW)
    assert number_of(two, ALLOW) == number
    before, after = slot.names.at(number, 19.0), slot.names.at(number, 20.0)
    assert (before.id, before.revision) == ("application/10", revision_of(one))
    assert (after.id, after.revision) == ("application/20", revision_of(two))
    assert before.meaning == after.meaning


def test_a_default_is_that_of_the_revision_of_the_time() -> None:
    slot = Slot()
    one, two = slot.take(ALLOW, held_at=10.0), slot.take(held_at=20.0)
    assert slot.names.at(FULL, 15.0).revision == revision_of(one)
    assert slot.names.at(FULL, 25.0).revision == revision_of(two)


def test_a_record_that_comes_after_its_revision_left_the_slot() -> None:
    slot = Slot()
    one = slot.take(ALLOW, held_at=10.0)
    slot.empty(20.0)
    assert slot.names.at(FULL, 19.9).revision == revision_of(one)
    assert slot.names.at(number_of(one, ALLOW), 20.1).revision == revision_of(one)


def test_tables_that_the_kernel_does_not_hold_judge_nothing() -> None:
    slot = Slot()
    one, two = slot.take(ALLOW, held_at=10.0), slot.take("deny any to any", held_at=None)
    assert slot.names.at(FULL, 30.0).revision == revision_of(one)
    late = slot.names.at(number_of(two, "deny any to any"), 30.0)
    assert (late.id, late.revision) == ("application/10", revision_of(two))


def test_a_clock_that_is_set_back_does_not_bring_back_a_former_revision() -> None:
    slot = Slot()
    slot.take(ALLOW, held_at=1000.0)
    two = slot.take(held_at=2000.0)
    slot.names.set_back(500.0)
    assert slot.names.at(FULL, 500.0).revision == revision_of(two)


def test_a_number_of_no_revision_is_a_number_and_few_revisions_are_kept() -> None:
    slot = Slot()
    first = slot.take(ALLOW, held_at=0.0)
    for port in range(1, MOST_TERMS + 1):
        slot.take(f"deny any to any on tcp/{port}", held_at=float(port))
    number = number_of(first, ALLOW)
    assert slot.names.at(number, 0.5).id == f"number {number}"
