"""Verdict tables in spite of everything: lost, meddled with, rebuilt, after a crash."""

from __future__ import annotations

import subprocess
import time
from random import Random
from typing import Any

import pytest

from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict_tables import Slot, diff
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from labs.namespaces import inside as entered
from pe.nft.reader import RulesetReader
from pe.policy.program import TABLE, Layout, program
from tests.elements import elements_of
from tests.lab import policy_node as node
from tests.lab.agents import inside, until
from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import (
    ALLOWED,
    DENIED,
    KEPT,
    NARROWER,
    RULES,
    WEB,
    Sender,
    Stream,
    started,
    tables,
)
from tests.property import segment_worlds as worlds

pytestmark = pytest.mark.lab


def test_without_its_table_nothing_new_passes_and_it_is_made_again(
    world: World, process: NodeProcess
) -> None:
    sender = Sender(world)
    assert sender.passes(ALLOWED, sport=1)
    process.pause()
    try:
        inside("pe", f"nft delete table inet {TABLE.name}")
        assert not sender.passes(KEPT)
        assert not sender.passes(DENIED)
        assert sender.passes(ALLOWED, sport=1), "what was allowed goes on"
    finally:
        process.resume()
    assert until(lambda: sender.passes(KEPT), 5.0)
    assert not sender.passes(DENIED)
    assert process.call("segment.repairs") == 1
    assert process.counters()["fail_03__red"] >= 2


def test_control_without_the_guard_a_lost_table_opens_everything(world: World) -> None:
    process = started(tables(RULES), disabled_guards=frozenset({"verdict"}))
    try:
        sender = Sender(world)
        assert not sender.passes(DENIED)
        process.pause()
        inside("pe", f"nft delete table inet {TABLE.name}")
        assert sender.passes(DENIED)
    finally:
        process.resume()
        process.stop()


@pytest.mark.parametrize(
    "meddling",
    [
        f"flush map inet {TABLE.name} e_ports",
        f"flush chain inet {TABLE.name} log_entry_10",
        f"add rule inet {TABLE.name} e_nowhere accept",
        f"add element inet {TABLE.name} e_destinations {{ 0x7001 : 0x80000001 }}",
    ],
)
def test_meddling_is_seen_and_undone(world: World, process: NodeProcess, meddling: str) -> None:
    before, sender = _kernel(), Sender(world)
    subprocess.run(
        ["ip", "netns", "exec", "pe", "nft", *meddling.split(" ")], check=True, timeout=10
    )
    assert _kernel() != before
    assert until(lambda: _kernel() == before, 5.0)
    assert sender.passes(ALLOWED)
    assert not sender.passes(DENIED)
    assert process.call("segment.repairs") == 1


def test_an_element_that_another_process_deleted_is_in_the_way_of_no_detach(
    world: World, process: NodeProcess
) -> None:
    """The kernel refuses the transaction that removes it once more; the rest of it is done too."""
    sender, after = Sender(world), tables(NARROWER, without="web")
    assert sender.passes(KEPT, sport=77)
    process.pause()
    inside("pe", f"nft delete element inet {TABLE.name} e_addresses4 {{ 10 . {WEB} }}")
    process.resume()
    process.segment("submit_delta", Slot.ENFORCED, diff(tables(RULES), after))
    process.segment("settled")
    assert not sender.passes(KEPT), "web is no workload any more"
    found = _kernel()
    for document in (None, after):
        process.segment("submit", Slot.ENFORCED, document)
        process.segment("settled")
    assert found[1] == _kernel()[1], "as a full compilation has it"
    process.segment("submit", Slot.ENFORCED, tables(NARROWER))
    process.segment("settled")
    assert sender.passes(KEPT), "the control: web is back"


def test_the_nft_program_lists_it_all(world: World, process: NodeProcess) -> None:
    """Version 1.0.6 aborts on keys and rules that it cannot make sense of."""
    process.segment("submit", Slot.STAGED, tables(NARROWER))
    bound = {("red", WEB.packed): "pe-a"}
    process.segment("submit_bindings", SourceBindings(bindings4=bound))
    process.segment("settled")
    words = ["ip", "netns", "exec", "pe", "nft", "list", "ruleset"]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert listed.returncode == 0, listed.stderr
    assert f'"pe-a" . {WEB}' in listed.stdout, "the shorter way"
    assert "map s_ports" in listed.stdout
    assert "map @s_ports" in listed.stdout


def _kernel() -> tuple[str, object]:
    """Everything in the kernel's table."""
    with entered("pe"):
        reader = RulesetReader()
    try:
        held = reader.present(TABLE, None)
        maps = {name: kind for name, kind in _kinds().items() if held and name in held.sets}
        return reader.shape(TABLE), elements_of(reader, TABLE, maps)
    finally:
        reader.close()


def _kinds() -> dict[str, Any]:
    return dict(program(Layout(frozenset(node.ZONES.values()), staged=True)).sets)


def test_what_others_do_to_their_own_tables_is_no_drift(world: World, process: NodeProcess) -> None:
    inside("pe", "nft add table inet theirs")
    time.sleep(2.5)
    assert process.call("segment.repairs") == 0
    assert Sender(world).passes(ALLOWED)
    inside("pe", "nft delete table inet theirs")


def test_a_rebuild_of_50000_entries_loses_and_admits_nothing(
    world: World, process: NodeProcess
) -> None:
    whole, other = tables(RULES, 50_000), tables(RULES, 49_990)
    process.segment("submit", Slot.ENFORCED, whole)
    process.segment("settled")
    seconds = []
    with Stream(world) as stream:
        for each in (other, whole):
            # As after meddling: the whole table is deleted and made anew.
            inside("pe", f"nft add chain inet {TABLE.name} stranger")
            before = time.monotonic()
            process.segment("submit", Slot.ENFORCED, each)
            process.segment("settled")
            seconds.append(time.monotonic() - before)
    sent = stream.judge()
    print(f"rebuilt in {seconds}, {sent} new flows meanwhile")
    assert sent > 200
    assert process.call("segment.repairs") == 2


def test_a_crash_and_a_restart_lose_and_admit_nothing(world: World) -> None:
    process = started(tables(RULES))
    try:
        with Stream(world) as stream:
            process.kill()
            time.sleep(0.5)
            process = started(tables(RULES))
        assert stream.judge() > 200
    finally:
        process.stop()


def test_deltas_lead_to_the_tables_of_a_full_compilation(process: NodeProcess) -> None:
    for seed in range(10):
        rng, books = Random(seed), IdAllocators()  # noqa: S311 - a seeded world
        policy, before = worlds.policy(rng), worlds.claimants(rng, 6)
        compiler = IncrementalCompiler(policy, worlds.inventory_of(before), books)
        process.segment("submit", Slot.ENFORCED, compiler.tables)
        process.segment("settled")
        for _ in range(15):
            process.segment("submit_delta", Slot.ENFORCED, compiler.put(worlds.claimant(rng)))
            if rng.randrange(2):
                process.segment("settled")
        process.segment("settled")
        stepped = _kernel()
        process.segment("submit", Slot.ENFORCED, None)
        process.segment("settled")
        assert _kernel() != stepped
        process.segment("submit", Slot.ENFORCED, compiler.tables)
        process.segment("settled")
        assert _kernel()[1] == stepped[1]
    assert process.call("segment.repairs") == 0
