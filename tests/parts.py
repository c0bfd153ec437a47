"""A part of a node without its supervisor, for tests of one component."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controlplane.model.supervision import Work


@dataclass
class LonePart:
    """Keeps what failed. Its tasks are the loop's."""

    failures: list[tuple[str, str]] = field(default_factory=list)
    """Subject, and the exception's text."""
    turns: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, make: Callable[[], Work]) -> asyncio.Task[None]:
        return self.spawn(make())

    def spawn(self, work: Work) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._run(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: work.close())
        return task

    async def _run(self, work: Work) -> None:
        try:
            await work
        except Exception as error:
            self.failed(error)

    def guard(
        self, callback: Callable[..., None], recover: Callable[[], None], subject: str = ""
    ) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:
                self.failed(error, subject)
                recover()

        return guarded

    def failed(self, error: Exception, subject: str = "") -> float:
        self.contained(error, subject)
        return 0.0

    def contained(self, error: Exception, subject: str = "") -> None:
        self.failures.append((subject, repr(error)))

    def completed(self) -> None:
        self.turns += 1
