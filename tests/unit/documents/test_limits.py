"""docs/limits.md has the numbers that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[3] / "docs/limits.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| `([\w.]+)` \|", TEXT, re.MULTILINE)


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 25
    assert TEXT.count("| `controlplane.") + TEXT.count("| `pe.") == len(ROWS)


@pytest.mark.parametrize(("what", "number", "name"), ROWS)
def test_each_number_is_that_of_the_code(what: str, number: str, name: str) -> None:
    module, _, constant = name.rpartition(".")
    found = getattr(importlib.import_module(module), constant)
    assert found == int(number.replace(",", "")), what
