"""Waiting for something to become true, with a bound instead of a sleep."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float, every: float = 0.05) -> bool:
    """Ask ``condition`` until it is true or ``seconds`` have passed; return which.

    It is asked once more at the end, so that a late success is not taken for a failure.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return bool(condition())
