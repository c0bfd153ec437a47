"""Count the work of a call: lines of the project's code that run, loop iterations included.

The interpreter reports a line for each iteration of a loop or comprehension, so code that looks at
every port counts every port. What C code does with a whole container in one call is not counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
MEASURED = (f"{ROOT}/pe/", f"{ROOT}/controlplane/")


def lines(do: Callable[[], object]) -> int:
    """How many lines of ``pe`` and ``controlplane`` one call runs."""
    return by_function(do).total()


def by_function(do: Callable[[], object], *, but: tuple[str, ...] = ()) -> Counter[str]:
    """Lines run by function, to see where the work is; none of the folders in ``but``."""
    count: Counter[str] = Counter()
    left_out = tuple(f"{ROOT}/{folder}/" for folder in but)

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            count[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"] += 1
        return local

    def trace(frame: FrameType, _: str, __: object) -> Any:
        name = frame.f_code.co_filename
        return local if name.startswith(MEASURED) and not name.startswith(left_out) else None

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
