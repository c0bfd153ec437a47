"""The commands that the README gives for looking around in a lab work as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PE = Path(sys.executable).with_name("pe")
COMMANDS = re.findall(r"^pe (lab exec .+)$", (ROOT / "README.md").read_text(), re.MULTILINE)


def pe(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PE, *words], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def quickstart() -> Iterator[None]:
    brought_up = pe(["lab", "up", "quickstart"])
    assert brought_up.returncode == 0, brought_up.stderr
    yield
    pe(["lab", "down", "quickstart"])


def test_there_are_some() -> None:
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_as_written(quickstart: None, command: str) -> None:
    done = pe(shlex.split(command))
    assert done.returncode == 0, done.stdout + done.stderr


def test_routes_of_the_other_pe_are_there(quickstart: None) -> None:
    done = pe(["lab", "exec", "--node", "pe1", "quickstart", "--", "pe", "show", "routes", "red"])
    assert "V>*  10.2.0.0/24" in done.stdout, done.stdout + done.stderr


def test_a_node_that_is_not_there_is_named(quickstart: None) -> None:
    done = pe(["lab", "exec", "--node", "pe9", "quickstart", "--", "true"])
    assert done.returncode == 1
    assert "quickstart has no node pe9; its nodes: p, ce-red-1" in done.stderr
