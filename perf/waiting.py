"""Waits of the bench: bounded; the error names what was awaited."""

from __future__ import annotations

import time
from collections.abc import Callable

from labs.lab import RunningLab
from labs.waiting import until

LOG_TAIL = 1500


class AwaitedError(RuntimeError):
    """Something did not happen in time; the message says what, with the ends of the logs."""


def wait(
    what: str,
    condition: Callable[[], object],
    seconds: float,
    lab: RunningLab,
    every: float = 0.05,
) -> float:
    """Wait until ``condition`` is true and return when it was seen, in monotonic seconds.

    Raises AwaitedError after ``seconds``.
    """
    if not until(condition, seconds, every):
        raise AwaitedError(f"waited {seconds:.0f} s for {what}\n{logs(lab)}")
    return time.monotonic()


def logs(lab: RunningLab) -> str:
    """The ends of the logs of all programs of a lab."""
    return "\n".join(
        f"--- {node.name} {program.name}\n{lab.log(node.name, program.name)[-LOG_TAIL:]}"
        for node in lab.lab.nodes
        for program in node.programs
    )
