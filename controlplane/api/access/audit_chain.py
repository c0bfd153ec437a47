"""The audit log's files: JSON lines, each with its number and the SHA-256 of the line before it.

A line that was changed, removed or put in breaks the chain from there on. The chain goes on over
rotated files, of which the oldest are removed; that lines are missing at the end shows against the
anchors, the number and digest of the last line, that the node leaves in its journal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

AUDIT_LOG = "audit.log"
"""The file in a node's state-dir."""

GENESIS = "0" * 64
ROTATE_BYTES, MOST_FILES = 64 << 20, 16
"""A file that is this large is rotated before the next line; this many rotated ones are kept."""
_MODE = 0o600


class Anchor(NamedTuple):
    """The last line of a chain."""

    number: int
    digest: str


START = Anchor(0, GENESIS)


def digest(line: str) -> str:
    """Return what the next line calls ``previous``."""
    return hashlib.sha256(line.encode()).hexdigest()


@dataclass(slots=True)
class AuditFile:
    """Append to one chain. Blocking: for threads, one line at a time.

    A caller that is cancelled leaves its thread at work: the next line has to wait for that one.
    """

    path: Path
    rotate_bytes: int = ROTATE_BYTES
    last: Anchor | None = None
    """The last line; None before the first one is appended."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def append(self, fields: dict[str, object]) -> Anchor:
        """Add a line and sync it to the disk; raises OSError, and then no part of it is left."""
        with self._turn:
            return self._add(fields)

    def _add(self, fields: dict[str, object]) -> Anchor:
        # Before the line: a rotation that failed behind it refused a change that was written down.
        if self.path.exists() and self.path.stat().st_size >= self.rotate_bytes:
            self._rotate()
        with _opened(self.path) as descriptor:
            size = os.fstat(descriptor).st_size
            last = self.last or self._resume(descriptor, size)
            number = last.number + 1
            entry = {"number": number, **fields, "previous": last.digest}
            line = json.dumps(entry, ensure_ascii=True, separators=(",", ":"))
            _append(descriptor, f"{line}\n".encode())
            self.last = Anchor(number, digest(line))
        return self.last

    def _resume(self, descriptor: int, size: int) -> Anchor:
        """Return where the chain goes on; a line torn by a crash is closed off and counts."""
        if not size:
            former = rotated(self.path)
            return _end_of(former[-1].read_text(encoding="utf-8")) if former else START
        text = self.path.read_bytes()
        if not text.endswith(b"\n"):
            _append(descriptor, b"\n")
        return _end_of(text.decode("utf-8", "replace"))

    def _rotate(self) -> None:
        """Begin a new file. The names are synced before a line is written to it."""
        former = rotated(self.path)
        newest = _place(former[-1]) + 1 if former else 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{newest}"))
        for old in former[: max(0, len(former) + 1 - MOST_FILES)]:
            old.unlink()
        with _opened(self.path.parent, os.O_RDONLY) as folder:
            os.fsync(folder)


def rotated(path: Path) -> list[Path]:
    """Return the rotated files of a log, the oldest first."""
    found = path.parent.glob(f"{path.name}.*")
    return sorted((each for each in found if each.suffix[1:].isdigit()), key=_place)


def _place(path: Path) -> int:
    return int(path.suffix[1:])


def _end_of(text: str) -> Anchor:
    lines = text.splitlines()
    if not lines:
        return START
    # Lines of former versions have no number: count them.
    unnumbered = takewhile(lambda line: _number(line) is None, reversed(lines))
    behind = sum(1 for _ in unnumbered)
    before = _number(lines[-behind - 1]) if behind < len(lines) else 0
    return Anchor((before or 0) + behind, digest(lines[-1]))


def _number(line: str) -> int | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    number = entry.get("number") if isinstance(entry, dict) else None
    return number if isinstance(number, int) else None


def _append(descriptor: int, data: bytes) -> None:
    """Write all of it and sync it, or put the file back to its former length.

    A write may be short where the disk is nearly full: the rest of the line was once lost, the next
    one glued to it, and the change made all the same.
    """
    size = os.fstat(descriptor).st_size
    try:
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[written:]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


@contextmanager
def _opened(path: Path, flags: int = os.O_WRONLY | os.O_CREAT | os.O_APPEND) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, _MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Break(NamedTuple):
    """Where a chain does not hold: the line within its file, from 1, and why."""

    line: int
    why: str


@dataclass(slots=True)
class Chain:
    """Follow a chain line by line. `last` None: it begins with what the first line says, since
    older files were removed. `anchor` is a line that must be in it."""

    last: Anchor | None = START
    anchor: Anchor | None = None

    def fault(self, text: str) -> str:
        """Take the next line; why it does not follow from the one before, "" if it does."""
        entry = _entry(text)
        if entry is None:
            return "no entry: torn, or not written by a node"
        number = entry.get("number")
        if self.last is None:
            first = number if isinstance(number, int) else 1
            self.last = Anchor(first - 1, str(entry["previous"]))
        if entry["previous"] != self.last.digest:
            return "does not follow from the line before it"
        if number not in (None, self.last.number + 1):  # former versions wrote none
            return f"has number {number}, not {self.last.number + 1}"
        self.last = Anchor(self.last.number + 1, digest(text))
        if self.anchor and self.last.number == self.anchor.number and self.last != self.anchor:
            return "is not the line of that number that the anchor names"
        return ""

    def missing(self) -> str:
        """Return why the chain does not reach its anchor, "" if it does."""
        last = self.last or START
        if self.anchor is None or last.number >= self.anchor.number:
            return ""
        return f"ends with line {last.number}; line {self.anchor.number} was written: it was cut"


def first_break(lines: Iterable[str], chain: Chain | None = None) -> Break | None:
    """Return the first line that does not follow from the one before it."""
    chain = chain or Chain()
    for place, line in enumerate(lines, start=1):
        if why := chain.fault(line.rstrip("\n")):
            return Break(place, why)
    return None


def verify(path: Path, anchor: Anchor | None = None) -> tuple[Anchor, str]:
    """Check a log with its rotated files; its last line, and what breaks it, "" for nothing.

    Raises FileNotFoundError if there is neither the log nor a rotated file of it.
    """
    former = rotated(path)
    if not former:
        path.stat()
    complete = not former or _place(former[0]) == 1
    chain = Chain(START if complete else None, anchor)
    for file in [*former, *([path] if path.exists() else [])]:
        with file.open(encoding="utf-8", errors="replace") as lines:
            found = first_break(lines, chain)
        if found:
            return chain.last or START, f"{file}, line {found.line}: {found.why}"
    return chain.last or START, chain.missing()


def _entry(text: str) -> dict[str, object] | None:
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("previous"), str) else None
