"""``kill -9`` at random moments: what was acknowledged is in the store, and nothing by halves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.model.revision import State
from controlplane.policy.language.revision import MOST_SUPERSEDED, Ledger
from controlplane.store import open_store
from tests.unit.store.test_embedded_store import saved
from tests.unit.store.test_segment_store import ledger_of, reopened

# Stages and promotes policy 1, 2, 3 ... for ever, and attaches a workload with each; says the
# number once all of it is saved.
PROMOTER = """
import sys
from pathlib import Path
from controlplane.store import open_store
from tests.property.test_store_durability import promotions
from tests.unit.store.test_segment_store import promote, reopened_ledger
store = open_store(Path(sys.argv[1]))
ledger = reopened_ledger(store)
print("open", flush=True)
for number in range(promotions(ledger) + 1, 10**9):
    ledger = promote(store, ledger, number)
    print(number, flush=True)
"""


# Saves ledger 1, 2, 3 ... and says each number once it is saved. Ledger n: VRF "v" has the labels
# that n decides, so that a mixture of two ledgers would show.
WRITER = """
import sys
from pathlib import Path
from tests.property.test_store_durability import ledger_number
from controlplane.store import open_store
store = open_store(Path(sys.argv[1]))
print("open", flush=True)
for number in range(int(sys.argv[2]), 10**9):
    store.save_labels(ledger_number(number))
    print(number, flush=True)
"""


def ledger_number(number: int) -> SaveLabels:
    held = {f"v{i}": 16 + (number * 50 + i) % 1_000_000 for i in range(number % 40)}
    return SaveLabels(
        held, {1_000_100 + i: (BootTime("boot-1", float(number)), "x") for i in range(20)}
    )


def test_a_promotion_is_whole_or_not_at_all_wherever_the_process_is_killed(tmp_path: Path) -> None:
    dice, last = random.Random(7), 0  # noqa: S311 - when to kill, not a secret
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", PROMOTER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(dice.random() * 0.15)
        os.kill(writer.pid, signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().split() if line.isdigit()]
        writer.stdout.close()
        writer.wait()
        last = said[-1] if said else last
        ledger = ledger_of(reopened(tmp_path))
        check_whole(ledger, last)
        last = promotions(ledger)
    assert last > 12


def check_whole(ledger: Ledger, said: int) -> None:
    """What was confirmed is there; at most one more promotion is, and the trail agrees."""
    enforced = ledger.in_state(State.ENFORCED)
    assert promotions(ledger) in (said, said + 1)
    if enforced is None:
        assert promotions(ledger) == 0
        return
    assert enforced.policy.name == f"n{promotions(ledger)}"
    staged = ledger.in_state(State.STAGED)
    kept = min(promotions(ledger), 1 + MOST_SUPERSEDED)
    assert len(ledger.revisions) == kept + (staged is not None)
    assert ledger.trail[-1].move == ("promote" if staged is None else "stage")


def promotions(ledger: Ledger) -> int:
    """Return the number of promotions; the trail, which is pruned, ends with the last of them."""
    enforced = ledger.in_state(State.ENFORCED)
    if enforced is None:
        return 0
    last = [entry for entry in ledger.trail if entry.move == "promote"][-1]
    assert last.after == enforced.digest
    return int(enforced.policy.name.removeprefix("n"))


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_point_it_holds_before_or_after(tmp_path: Path, seed: int) -> None:
    """``kill -9`` of a writer: the ledger is the last that was acknowledged, or the one after."""
    next_number, delay = 1, random.Random(seed)  # noqa: S311 - a reproducible moment
    known = saved(ledger_number(0))
    known.held_down.clear()
    for _ in range(2):
        last = _write_and_kill(tmp_path, next_number, delay.uniform(0.0, 0.04))
        store = open_store(tmp_path)
        found = store.load_labels()
        store.close()
        if last >= next_number:
            known = saved(ledger_number(last))
        assert found in (known, saved(ledger_number(last + 1)))
        known, next_number = found, last + 2


def _write_and_kill(folder: Path, first: int, delay: float) -> int:
    """Let a writer go on for a moment; gives the last number that it acknowledged."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", WRITER, str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        acknowledged = writer.stdout.read().splitlines()
    complete = [int(line) for line in acknowledged]
    return complete[-1] if complete else first - 1
