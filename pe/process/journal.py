"""Write the journal: one line per event, logfmt or JSON; never a secret.

Logging must not hold the node up. Lines go through a bounded queue to a thread that writes them:
if the reader of the stream stands still, lines are dropped, counted, and the count is logged.
"""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

HIDDEN = "***"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_QUEUED = 10_000
_CLOSE_SECONDS = 2.0
_SECRET_WORDS = frozenset(
    {"md5", "password", "passwd", "passphrase", "secret", "key", "token", "psk"}
)
_WORDS = re.compile(r"[a-z0-9]+")


class Journal:
    """Log with ``info(event, **fields)`` and the like, or ``log(level, event, **fields)``.

    ``event`` is in snake_case and says what happened; fields are plain values. ``level`` is a
    number as in ``LEVELS``.
    """

    def __init__(self, outlet: Outlet, level: str, form: str) -> None:
        self._outlet = outlet
        self._level = LEVELS[level]
        self._logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            structlog.WriteLogger(outlet),  # type: ignore[arg-type]  # writes and flushes only
            processors=[*_PROCESSORS, _renderer(form)],
            wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        )

    def set_level(self, level: str) -> None:
        """Change the level, as after a reload."""
        self._level = LEVELS[level]

    def log(self, level: int, event: str, **fields: object) -> None:
        """Write an event, unless its level is below the journal's."""
        if level >= self._level:
            self._logger.log(level, event, **fields)

    def debug(self, event: str, **fields: object) -> None:
        """Log at level DEBUG."""
        self.log(LEVELS["debug"], event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Log at level INFO."""
        self.log(LEVELS["info"], event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log at level WARNING."""
        self.log(LEVELS["warning"], event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Log at level ERROR."""
        self.log(LEVELS["error"], event, **fields)

    @property
    def dropped(self) -> int:
        """Return the number of lines dropped since the start because the reader was too slow."""
        return self._outlet.dropped

    def close(self) -> None:
        """Write what is queued, for at most two seconds."""
        self._outlet.close()


class Outlet:
    """Write lines to a stream from a thread, so that no caller blocks."""

    def __init__(self, stream: TextIO, size: int = _QUEUED) -> None:
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(size)
        self.dropped = 0
        """Lines lost since the start."""
        self._told = 0
        self._thread = threading.Thread(target=self._drain, name="journal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue a line; dropped and counted if the queue is full."""
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def close(self) -> None:
        """End the thread once the queue is written, or after two seconds."""
        try:
            self._queue.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _drain(self) -> None:
        while (text := self._queue.get()) is not None:
            self._emit(text)
            if news := self.dropped - self._told:
                self._told += news
                self._emit(f"level=warning event=journal_lines_dropped lines={news}\n")

    def _emit(self, text: str) -> None:
        try:
            self._stream.write(text)
            if self._queue.empty():
                self._stream.flush()
        except (OSError, ValueError):
            pass  # the reader has closed the stream; the node goes on without a journal


def start(level: str = "info", form: str = "logfmt", stream: TextIO | None = None) -> Journal:
    """Return a journal on a stream (standard error). ``form`` is ``logfmt`` or ``json``."""
    return Journal(Outlet(stream or sys.stderr), level, form)


def _hide(_logger: Any, _method: str, fields: Any) -> Any:
    return {name: _clean(name, value) for name, value in fields.items()}


def _clean(name: str, value: object) -> object:
    """Return the value without secrets; text on one line and without control characters."""
    if _is_secret(name) and not isinstance(value, bool) and value not in (None, ""):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _is_secret(name: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(_WORDS.findall(name.lower()))


_PROCESSORS: list[Any] = [
    structlog.processors.add_log_level,
    _hide,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
]


def _renderer(form: str) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"])
