"""docs/events.md has every log event of the code, with its level, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from controlplane.speaker import wire

ROOT = Path(__file__).parents[3]
LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| ([a-z, ]+) \| (.+) \| (.+) \|$", re.MULTILINE)
EVENT = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
LOGGERS = frozenset({"log", "_log", "notice", "_notice", "_emit", "LogEvent"})
REPORTED = {"report.level": get_args(wire.Level)}
"""Levels that a call takes from elsewhere, by the expression."""


def in_code() -> dict[str, set[str]]:
    """Return the levels of each event that the code logs."""
    found: dict[str, set[str]] = {}
    for folder in ("pe", "controlplane"):
        for path in (ROOT / folder).rglob("*.py"):
            for level, event in _events(ast.parse(path.read_text())):
                found.setdefault(event, set()).add(level)
    return found


def _events(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        texts = [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
        named = {
            k.arg: str(k.value.value) for k in node.keywords if isinstance(k.value, ast.Constant)
        }
        for level in _either(node.args):
            yield level, texts[0]
        if called in LOGGERS:
            words = [named[key] for key in ("level", "event") if key in named] + texts
            if len(words) >= 2 and words[0] in LEVELS:
                yield words[0], words[1]
            for level in REPORTED.get(ast.unparse(node.args[0]), ()) if node.args else ():
                yield level, texts[0]
        elif called in LEVELS and texts and EVENT.fullmatch(texts[0]):
            yield called, texts[0]


def _either(args: list[ast.expr]) -> Iterator[str]:
    """Yield the levels of a call whose level depends on a condition."""
    if len(args) > 1 and isinstance(args[0], ast.IfExp) and isinstance(args[1], ast.Constant):
        for each in (args[0].body, args[0].orelse):
            if isinstance(each, ast.Constant) and each.value in LEVELS:
                yield str(each.value)


def documented() -> dict[str, set[str]]:
    """Return the levels of each event that the page lists."""
    rows = ROW.findall((ROOT / "docs/events.md").read_text())
    assert len(rows) == len({row[0] for row in rows}), "an event stands there twice"
    return {event: set(levels.split(", ")) for event, levels, _, _ in rows}


def test_every_event_has_its_row_and_every_row_its_event() -> None:
    code, page = in_code(), documented()
    assert len(code) > 20
    assert {e: v for e, v in code.items() if e not in page} == {}
    assert {e: v for e, v in page.items() if e not in code} == {}


def test_the_levels_are_those_of_the_code() -> None:
    page = documented()
    assert {e: v for e, v in in_code().items() if page.get(e) != v} == {}
