"""The checked-in list of tests that may fail and then pass alone (``tests/flaky.toml``)."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "tests/flaky.toml"


class FlakyListError(ValueError):
    """The list cannot be used; the message names the entry and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A test that is excused until a day, and why."""

    test: str
    reason: str
    expires: dt.date

    def covers(self, test: str, today: dt.date) -> bool:
        """Return True if the entry excuses ``test``, with or without its parameters."""
        return self.test in (test, test.partition("[")[0]) and today <= self.expires


def read(file: Path = FILE) -> list[Entry]:
    """Read the list; raises FlakyListError."""
    try:
        content = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise FlakyListError(f"{file}: {error}") from error
    return [_entry(file, number, raw) for number, raw in enumerate(content.get("test", []), 1)]


def _entry(file: Path, number: int, raw: dict[str, object]) -> Entry:
    test, reason, expires = raw.get("id"), raw.get("reason"), raw.get("expires")
    good = isinstance(test, str) and isinstance(reason, str) and type(expires) is dt.date
    if not good or not test or not reason:
        raise FlakyListError(
            f"{file}: test {number} ({test}): id and reason are texts, expires is a date"
        )
    return Entry(str(test), str(reason), expires)  # type: ignore[arg-type]  # checked above


def unexcused(tests: Iterable[str], entries: Iterable[Entry], today: dt.date) -> list[str]:
    """Return the tests that no entry excuses today."""
    known = list(entries)
    return [test for test in tests if not any(entry.covers(test, today) for entry in known)]
