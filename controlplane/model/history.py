"""The history of memberships, bounded: a workload that changes often prunes its own lines first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from controlplane.model.attachment import MembershipChange

LINES = 50_000
"""Lines of all workloads together; the oldest are pruned."""
LINES_OF_ONE = 200
"""Lines of one workload."""


class History:
    """Lines in the order in which they came."""

    def __init__(self, lines: Iterable[MembershipChange] = ()) -> None:
        self._lines: dict[int, MembershipChange] = {}
        self._of: dict[str, deque[int]] = {}
        self._next = 0
        for line in lines:
            self.append(line)

    def append(self, line: MembershipChange) -> None:
        """Add a line; prune the oldest ones beyond the bounds."""
        numbers = self._of.setdefault(line.workload, deque())
        numbers.append(self._next)
        self._lines[self._next] = line
        self._next += 1
        if len(numbers) > LINES_OF_ONE:
            del self._lines[numbers.popleft()]
        elif len(self._lines) > LINES:
            self._prune_oldest()

    def _prune_oldest(self) -> None:
        oldest = next(iter(self._lines))
        workload = self._lines.pop(oldest).workload
        numbers = self._of[workload]
        numbers.popleft()
        if not numbers:
            del self._of[workload]

    @property
    def added(self) -> int:
        """How many lines were ever added."""
        return self._next

    def added_since(self, count: int) -> list[MembershipChange]:
        """Return the lines that came after the first ``count`` and are still kept."""
        found: list[MembershipChange] = []
        for number in reversed(self._lines):
            if number < count:
                break
            found.append(self._lines[number])
        return found[::-1]

    def of(self, workload: str) -> list[MembershipChange]:
        """Return the lines of one workload."""
        return [self._lines[number] for number in self._of.get(workload, ())]

    def __iter__(self) -> Iterator[MembershipChange]:
        return iter(self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)
