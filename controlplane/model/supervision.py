"""What a component needs of the supervisor that owns its tasks (``pe.supervisor``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

Work = Coroutine[Any, Any, None]


class Task(Awaitable[None], Protocol):
    """A started task."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it."""
        ...

    def done(self) -> bool:
        """Return true once it has ended."""
        ...


class Part(Protocol):
    """One part of the node, for which the table of ``pe.supervisor`` says what a failure does."""

    def start(self, make: Callable[[], Work]) -> Task:
        """Run ``make()`` in a task of its own; after an exception make it and run it anew."""
        ...

    def spawn(self, work: Work) -> Task:
        """Run something that ends by itself; an exception is logged and counted."""
        ...

    def guard(
        self, callback: Callable[..., None], recover: Callable[[], None], subject: str = ""
    ) -> Callable[..., None]:
        """Wrap a callback of the loop: an exception is logged and counted, then ``recover`` runs.

        Without it, the loop's default handler would take the exception, and what the callback had
        read but not handled would be lost without a resync.
        """
        ...

    def failed(self, error: Exception, subject: str = "") -> float:
        """Log and count an exception; seconds to wait before the next try.

        ``subject`` names the object that was being worked on.
        """
        ...

    def contained(self, error: Exception, subject: str = "") -> None:
        """Log and count an exception whose harm is contained already."""
        ...

    def completed(self) -> None:
        """Note a completed turn: the part works, and the watchdog may be fed."""
        ...
