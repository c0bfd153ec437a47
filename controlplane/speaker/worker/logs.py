"""What ExaBGP logs, and malformed messages, as reports to the node: bounded, one line each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.rate_limit import LOG_BURST, LOGS_PER_SECOND, EventLimit
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.link import Link

CRASH_LINES, CRASH_TAIL = 20, 6


def install(link: Link) -> None:
    """Make warnings and worse reports to the node; what is below is not even put together."""

    def quiet(message: object, source: str = "", level: str = "") -> None:
        del message, source, level

    limit = EventLimit(LOG_BURST, LOGS_PER_SECOND, time.monotonic)

    def logged(severity: wire.Level) -> Callable[..., None]:
        def line(message: Any, source: str = "", level: str = "") -> None:
            del level
            if not limit.admits():
                return
            text = condensed(str(message() if callable(message) else message))
            text = f"{source}: {text}" if source else text
            link.report(wire.LogLine(severity, text, missed=limit.missed()))

        return line

    for level in ("debug", "info"):
        surface.replace(surface.log, level, quiet)
    surface.replace(surface.log, "warning", logged("warning"))
    for level in ("error", "critical", "fatal"):
        surface.replace(surface.log, level, logged("error"))


def throttled(link: Link) -> Callable[[wire.Malformed], None]:
    """Return a function that reports malformed messages unless there are too many of one peer."""
    limit = EventLimit(LOG_BURST, LOGS_PER_SECOND, time.monotonic)

    def report(malformed: wire.Malformed) -> None:
        if limit.admits(malformed.peer):
            malformed.missed = limit.missed(malformed.peer)
            link.report(malformed)

    return report


def condensed(text: str) -> str:
    """Return one line; of ExaBGP's crash reports, pages long, the end of the traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" *-")]
    return " | ".join(lines if len(lines) < CRASH_LINES else lines[-CRASH_TAIL:-1])
