"""The audit log: who asked for which change, what was before and after, how it ended.

JSON lines in an append-only file, each synced to disk before the call goes on, and each with the
SHA-256 of the line before it: a line that was changed or removed breaks the chain from there on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

_GENESIS = "0" * 64
_TAIL = 1 << 20


@dataclass(slots=True)
class Change:
    """What a service notes of the change that it makes. Texts without secrets."""

    before: str = ""
    after: str = ""


CHANGE: ContextVar[Change] = ContextVar("bulkhead_api_change")
"""The change that the current task's RPC makes."""


@dataclass(slots=True)
class AuditLog:
    """Appends to one file; ``clock`` gives seconds since the epoch."""

    path: Path
    clock: Callable[[], float] = time.time
    _last: str = ""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self, **fields: object) -> None:
        """Append one line and wait until it is on disk. Raises OSError if it cannot be."""
        async with self._lock:
            await asyncio.to_thread(self._append, fields)

    def _append(self, fields: dict[str, object]) -> None:
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            before = self._last or _last_digest(self.path)
            entry = {"time": round(self.clock(), 6), **fields, "previous": before}
            line = json.dumps(entry, ensure_ascii=True, separators=(",", ":"))
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
            self._last = digest(line)
        finally:
            os.close(descriptor)


def digest(line: str) -> str:
    """What the next line calls ``previous``."""
    return hashlib.sha256(line.encode()).hexdigest()


def _last_digest(path: Path) -> str:
    """Where a log that exists goes on; a line torn by a crash is closed off and counts."""
    with path.open("rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
        if tail and not tail.endswith(b"\n"):
            stream.write(b"\n")
            tail += b"\n"
    lines = tail.decode("utf-8", "replace").splitlines()
    return digest(lines[-1]) if lines else _GENESIS


def first_break(lines: Iterable[str]) -> int | None:
    """The number, from 1, of the first line that does not follow from the one before it."""
    before = _GENESIS
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\n")
        try:
            entry = json.loads(text)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or entry.get("previous") != before:
            return number
        before = digest(text)
    return None
