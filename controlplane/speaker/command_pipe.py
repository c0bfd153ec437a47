"""The commands that wait for a worker, written into its pipe as it takes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from controlplane.model.log import Log
from controlplane.speaker import wire
from controlplane.speaker.commands import Action, CommandQueue

WRITE_SIZE = 1 << 16

Guard = Callable[[Callable[[], None]], Callable[..., None]]
"""Makes of a function one that the event loop may call (``Part.guard``)."""


class CommandPipe:
    """``limit`` bounds the routes that wait. ``acted`` is called when the worker takes something,
    ``broken`` when it has closed its end."""

    def __init__(
        self, limit: int, guard: Guard, log: Log, *,
        acted: Callable[[], None], broken: Callable[[], None],
    ) -> None:  # fmt: skip
        self._limit, self._guard, self._log = limit, guard, log
        self._acted, self._broken = acted, broken
        self._queue, self._pending = CommandQueue(limit), b""
        self._descriptor: int | None = None
        self._writing = False

    def __bool__(self) -> bool:
        """Return whether anything waits for the worker."""
        return bool(self._queue or self._pending)

    def open(self, descriptor: int) -> None:
        """Write into this pipe from now on."""
        self._descriptor = descriptor

    def close(self) -> None:
        """Leave the event loop before the pipe is closed, and drop what waits."""
        if self._writing and self._descriptor is not None:
            asyncio.get_running_loop().remove_writer(self._descriptor)
        self._descriptor, self._writing = None, False
        self._clear()

    def put(self, session: int, action: Action) -> bool:
        """Queue an action; False if the queue is full."""
        if not self._queue.put(session, action):
            return False
        self._want_to_write()
        return True

    def put_line(self, command: wire.Command) -> None:
        """Queue a command that takes no room."""
        self._queue.put_line(command)
        self._want_to_write()

    def drop(self, address: str) -> int:
        """Drop what waits for a peer, except the end of its session; return how many routes."""
        return self._queue.drop(address)

    def _clear(self) -> None:
        self._queue, self._pending = CommandQueue(self._limit), b""

    def _want_to_write(self) -> None:
        if not self._writing and self._descriptor is not None:
            self._writing = True
            loop = asyncio.get_running_loop()
            loop.add_writer(self._descriptor, self._guard(self._writable))

    def _writable(self) -> None:
        if self._descriptor is None:
            return
        try:
            if not self._pending:
                self._pending = self._queue.take(WRITE_SIZE)
                self._report_problems()
            self._pending = self._pending[os.write(self._descriptor, self._pending) :]
            if self:  # the pipe was full, and the worker empties it
                self._acted()
        except BlockingIOError:
            return
        except BrokenPipeError:
            # What is left of its lines is read first; their end starts another worker. One that
            # closed this pipe alone would never have what is dropped here.
            self._broken()
            self._clear()
        if not self:
            asyncio.get_running_loop().remove_writer(self._descriptor)
            self._writing = False

    def _report_problems(self) -> None:
        for problem in self._queue.problems:
            self._log("error", "command_refused", {"reason": problem})
        self._queue.problems.clear()
