"""What pytest's JUnit files say: how many tests, which failed, how long each module took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

FIRST = "junit.xml"
AGAIN = "again.xml"
"""Of the tests that failed, tried once more in a guest of their own."""

LINES = 25
"""So many lines of what a failed test said are kept: with pytest, those that say why."""


@dataclass
class Sum:
    """Several reports together. ``alone``: tests that failed and then passed in a guest of
    their own; they count as failed."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    """What each test said that failed, those that passed alone too: the end of it."""

    def __str__(self) -> str:
        failed = self.counts["failures"] + self.counts["errors"]
        passed = self.counts["tests"] - failed - self.counts["skipped"]
        return f"{passed} passed, {failed} failed, {self.counts['skipped']} skipped"


def failed(report: Path) -> list[str]:
    """The tests of a report that failed, as pytest takes them for arguments."""
    return [test for test, bad in _verdicts(report) if bad]


def add_up(folders: Iterable[Path]) -> Sum:
    """Sum what the guests left in their folders; one that left nothing counts for nothing."""
    found = Sum()
    for folder in folders:
        if not (folder / FIRST).exists():
            continue
        suite = _suite(folder / FIRST)
        for name in ("tests", "failures", "errors", "skipped"):
            found.counts[name] += int(suite.get(name, 0))
        for case in suite.iter("testcase"):
            module = _module(case)
            found.seconds[module] = found.seconds.get(module, 0.0) + float(case.get("time", 0))
            if words := _words(case):
                found.bad[_name(case)] = "\n".join(words.splitlines()[-LINES:])
        if (folder / AGAIN).exists():
            found.alone += [test for test, bad in _verdicts(folder / AGAIN) if not bad]
    return found


def _verdicts(report: Path) -> Sequence[tuple[str, bool]]:
    return [(_name(case), bool(_words(case))) for case in _suite(report).iter("testcase")]


def _words(case: ElementTree.Element) -> str:
    """What was said of a failure; nothing if there was none."""
    bad = case.findall("failure") + case.findall("error")
    return "\n".join(found.text or found.get("message") or "no words" for found in bad)


def _name(case: ElementTree.Element) -> str:
    return f"{_module(case)}::{case.get('name')}"


def _module(case: ElementTree.Element) -> str:
    return case.get("classname", "").replace(".", "/") + ".py"


def _suite(report: Path) -> ElementTree.Element:
    return ElementTree.parse(report).getroot()[0]  # noqa: S314 - our own pytest wrote it
