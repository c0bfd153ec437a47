"""The audit log: who asked for which change, what was before and after, how it ended.

Each line is on the disk before the call goes on: a change that cannot be written down is not made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.api.access.audit_chain import ROTATE_BYTES, Anchor, AuditFile
from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.model.supervision import Part

ANCHOR_SECONDS = 10.0
"""At most this long after a line its number and digest are in the journal."""


@dataclass(slots=True)
class AuditedChange:
    """What a service notes of the change that it makes. Texts without secrets."""

    before: str = ""
    after: str = ""


CHANGE: ContextVar[AuditedChange] = ContextVar("bulkhead_api_change")
"""The change that the current task's RPC makes."""


def _no_anchor(_anchor: Anchor) -> None:
    """Leave no anchor."""


@dataclass(slots=True)
class AuditLog:
    """Append to the log of one node, in order; ``clock`` gives seconds since the epoch.

    ``anchor`` is called with the last line now and then, to be kept outside: lines that are cut off
    at the end show against it.
    """

    path: Path
    clock: Callable[[], float] = time.time
    anchor: Callable[[Anchor], None] = _no_anchor
    rotate_bytes: int = ROTATE_BYTES
    tally: RpcMetrics = field(default_factory=RpcMetrics)
    part: Part | None = None
    """Owns the timer of the anchor; without it ``leave_anchor`` is the caller's to call."""
    _file: AuditFile = field(init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _due: asyncio.TimerHandle | None = None
    _anchored: Anchor | None = None

    def __post_init__(self) -> None:
        self._file = AuditFile(self.path, self.rotate_bytes)

    async def write(self, **fields: object) -> None:
        """Append one line and wait until it is on disk. Raises OSError if it cannot be."""
        async with self._lock:
            entry = {"time": round(self.clock(), 6), **fields}
            try:
                last = await asyncio.to_thread(self._file.append, entry)
            except OSError:
                self.tally.audit_failures += 1
                raise
            self.tally.audit_line = last.number
        if self._due is None and self.part is not None:
            leave = self.part.guard(self.leave_anchor, self._forget_timer)
            self._due = asyncio.get_running_loop().call_later(ANCHOR_SECONDS, leave)

    def _forget_timer(self) -> None:
        self._due = None

    def leave_anchor(self) -> None:
        """Give the last line to ``anchor``, if there is one since the last time."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        last = self._file.last
        if last is not None and last != self._anchored:
            self.anchor(last)
            self._anchored = last
