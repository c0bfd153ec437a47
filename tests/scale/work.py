"""Count the work of a call: lines of the project's code that run, loop iterations included.

The interpreter reports a line for each iteration of a loop or comprehension, so code that looks at
every port counts every port. What C code does with a whole container in one call is not counted.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
MEASURED = (f"{ROOT}/pe/", f"{ROOT}/controlplane/")


def lines(do: Callable[[], object]) -> int:
    """How many lines of ``pe`` and ``controlplane`` one call runs."""
    return sum(by_function(do).values())


def async_lines(do: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """The same for a coroutine, in a loop of its own."""
    return lines(lambda: asyncio.run(do()))


def by_function(do: Callable[[], object]) -> Counter[str]:
    """Lines run by function, to see where the work is."""
    count: Counter[str] = Counter()

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            count[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"] += 1
        return local

    def trace(frame: FrameType, _: str, __: object) -> Any:
        return local if frame.f_code.co_filename.startswith(MEASURED) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return count


def assert_flat(small: Counter[str], large: Counter[str], *, slack: float = 1.5) -> None:
    """Fail with the functions that grew, if the large world cost more than the small one."""
    grown = Counter({name: n - small[name] for name, n in large.items() if n > small[name]})
    assert large.total() <= slack * small.total() + 20, (
        f"{small.total()} lines grew to {large.total()}: {grown.most_common(8)}"
    )
