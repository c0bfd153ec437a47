"""docs/limits.md has the numbers that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[3] / "docs/limits.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| `([\w.]+)` \|", TEXT, re.MULTILINE)


REPORT = (Path(__file__).parents[3] / "perf/report.md").read_text()
FLOWS = r"^\| ([\d,]+)[^|]*\| ([\d,]+) \| ([\d,]+) \| 0 \|"


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_rate_of_new_flows_is_the_greatest_of_the_report_without_a_loss() -> None:
    stated = re.search(
        r"^\| new flows each second, all recorded \| ([\d,]+) \|", TEXT, re.MULTILINE
    )
    section = REPORT.partition("### Telemetry")[2].partition("\n### ")[0]
    rates = [
        _number(r) for r, sent, seen in re.findall(FLOWS, section, re.MULTILINE) if sent == seen
    ]
    assert stated
    assert _number(stated[1]) == max(rates)


def test_workloads_and_map_entries_are_those_of_the_report() -> None:
    stated = re.search(r"workloads under one policy \| ([\d,]+), with ([\d,]+) map", TEXT)
    assert stated
    assert f"among {stated[1]} workloads, {stated[2]} entries" in REPORT


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 25
    assert TEXT.count("| `controlplane.") + TEXT.count("| `pe.") == len(ROWS)


@pytest.mark.parametrize(("what", "number", "name"), ROWS)
def test_each_number_is_that_of_the_code(what: str, number: str, name: str) -> None:
    module, _, constant = name.rpartition(".")
    found = getattr(importlib.import_module(module), constant)
    assert found == int(number.replace(",", "")), what
