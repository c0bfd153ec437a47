"""A reload that gives a VRF another table or label: its BGP sessions are opened anew at once.

The VRF's device is made anew, and a socket stays bound to the one that was deleted: the session was
"established" without a packet until its hold time ran out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.checks.node import show
from labs.checks.reach import reaches
from labs.lab import RunningLab, running
from labs.peers.pe import API, command
from labs.topologies.quickstart import LAB
from labs.waiting import until

SECONDS = 20.0
"""Below the hold time of 30 s: it is not the hold timer that ends the session."""


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        assert until(lambda: ages(up), 60.0, every=0.5), show(up, "pe1", "neighbors")
        yield up


def ages(lab: RunningLab) -> dict[str, int]:
    """The age of each session of VRF red at pe1; nothing while one is not established."""
    rows = [n for n in show(lab, "pe1", "neighbors") if n["vrf"] == "red"]
    if not rows or any(n["state"] != "established" for n in rows):
        return {}
    return {n["address"]: n["state_seconds"] for n in rows}


@pytest.mark.parametrize("change", ["table: 2001", "label-block: 40000-40099"])
def test_its_sessions_are_opened_anew(lab: RunningLab, change: str) -> None:
    file: Path = lab.dir("pe1") / "pe.yaml"
    before = file.read_text()
    assert until(lambda: min(ages(lab).values(), default=0) >= 3, SECONDS), (
        "control: older than 3 s"
    )
    if change.startswith("table"):
        changed = before.replace("    rd: 65000:101\n", f"    rd: 65000:101\n    {change}\n")
    else:
        changed = f"{change}\n{before}"
    assert changed != before
    file.write_text(changed)
    began = time.monotonic()
    done = lab.run("pe1", command(), "reload", "--socket", API, check=False)
    assert done.returncode == 0, done.stderr

    def is_back() -> bool:
        found = ages(lab)
        return bool(found) and max(found.values()) <= time.monotonic() - began

    assert until(is_back, SECONDS, every=0.5), json.dumps(show(lab, "pe1", "neighbors"), indent=1)
    for v6 in (False, True):
        outcome = reaches(lab, "red", 1, 2, v6=v6)
        assert outcome.ok, outcome.evidence
