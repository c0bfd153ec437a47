"""The committed stubs are those of the committed contract."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GENERATED = ROOT / "proto/python"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stubs_are_fresh(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "proto/generate.py"))["generate"](tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    held = {path.relative_to(GENERATED): path.read_text() for path in GENERATED.rglob("*_pb2*.py*")}
    assert len(made) >= 3
    assert sorted(made) == sorted(path for path in held if "__pycache__" not in path.parts)
    stale = [str(path) for path, text in made.items() if held[path] != text]
    assert stale == [], "run `make proto`"
