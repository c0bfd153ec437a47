"""Send errors of Python and its libraries to the journal, one line each.

Without these hooks the loop's exception handler, gRPC's loggers, warnings, unraisable exceptions
and those of threads print tracebacks to standard error, past the journal's format and its filter
for secrets.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pe.supervisor import described


class Journal(Protocol):
    """Write log lines (``pe.process.journal.Journal``)."""

    def warning(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Write an event that is a fault."""
        ...


class JournalHandler(logging.Handler):
    """Write records of ``logging`` to the journal, those of asyncio and gRPC included."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the exception that it may carry becomes fields."""
        fields: dict[str, object] = {"logger": record.name, "text": _one_line(record)}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            fields.update(described(error))
        if record.levelno >= logging.ERROR:
            self._journal.error("library_log", **fields)
        else:
            self._journal.warning("library_log", **fields)


def _one_line(record: logging.LogRecord) -> str:
    try:
        return " ".join(record.getMessage().split())
    except Exception as error:  # arguments that do not fit the format
        return f"{record.msg!r}: {error}"


@contextmanager
def to_journal(journal: Journal) -> Iterator[None]:
    """Install the hooks while the block runs, on the running loop; other log handlers stay."""
    loop, handler, root = asyncio.get_running_loop(), JournalHandler(journal), logging.getLogger()
    before = loop.get_exception_handler(), sys.unraisablehook, threading.excepthook

    def from_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fields: dict[str, object] = {"text": context["message"]}
        for key in ("handle", "task", "future", "transport", "protocol"):
            if key in context:
                fields[key] = repr(context[key])
        if (error := context.get("exception")) is not None:
            fields.update(described(error))
        journal.error("loop_exception", **fields)

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        error = found.exc_value or found.exc_type()
        text = found.err_msg or "exception ignored"
        fields = {"text": text, "object": repr(found.object), **described(error)}
        journal.error("exception_ignored", **fields)

    def from_thread(found: threading.ExceptHookArgs) -> None:
        error = found.exc_value or found.exc_type()
        name = found.thread.name if found.thread else ""
        journal.error("thread_ended", thread=name, **described(error))

    loop.set_exception_handler(from_loop)
    sys.unraisablehook, threading.excepthook = unraisable, from_thread
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        loop.set_exception_handler(before[0])
        sys.unraisablehook, threading.excepthook = before[1], before[2]
