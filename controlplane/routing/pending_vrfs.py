"""Orders what the kernel must hold first: sessions, announcements and the answer to a reload wait
for the devices, filters and labels of their own VRF, and for nothing else.

A withdrawal and the end of a session wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from controlplane.model.instant import Instant

SETTLE_SECONDS = 10.0
"""So long a VRF waits for the data plane; then reachability counts more, and the log says so."""


class PendingVrfs:
    """The VRFs ("" is the core) whose last change the kernel is not known to hold."""

    def __init__(self) -> None:
        self.number = 0
        self._waits: dict[str, tuple[int, float]] = {}
        self._then: list[tuple[dict[str, int], Callable[[], None]]] = []

    def __contains__(self, vrf: object) -> bool:
        return vrf in self._waits

    def __bool__(self) -> bool:
        return bool(self._waits)

    @property
    def numbers(self) -> dict[str, int]:
        """Return the VRFs that wait, each with the number that it waits for."""
        return {vrf: number for vrf, (number, _) in self._waits.items()}

    def change(self, vrfs: Collection[str], now: Instant) -> int:
        """Have these VRFs wait; return the number under which the data plane reports them."""
        self.number += 1
        due = now.monotonic + SETTLE_SECONDS
        self._waits |= dict.fromkeys(vrfs, (self.number, due))
        return self.number

    def then(self, vrfs: Collection[str], call: Callable[[], None]) -> None:
        """Call once none of these VRFs waits for what it waits for now."""
        needed = {vrf: self._waits[vrf][0] for vrf in vrfs if vrf in self._waits}
        self._then.append((needed, call))
        self._call()

    def held(self, numbers: dict[str, int]) -> list[str]:
        """Take in what the kernel holds; return the VRFs that wait no longer."""
        held = [vrf for vrf, number in numbers.items() if self._needs(vrf) <= number]
        self._release(held, numbers)
        return held

    def expire(self, now: Instant) -> list[str]:
        """Return the VRFs that have waited too long; they wait no longer."""
        if not self._waits:
            return []
        late = {v: number for v, (number, due) in self._waits.items() if due <= now.monotonic}
        self._release(list(late), late)
        return sorted(late)

    def deadlines(self) -> Iterator[float]:
        """Yield when ``expire`` has something to do."""
        if self._waits:
            yield min(due for _, due in self._waits.values())

    def _needs(self, vrf: str) -> float:
        return self._waits[vrf][0] if vrf in self._waits else float("inf")

    def _release(self, vrfs: list[str], numbers: dict[str, int]) -> None:
        for vrf in vrfs:
            del self._waits[vrf]
        for needed, _ in self._then:
            for vrf, number in numbers.items():
                if needed.get(vrf, number + 1) <= number:
                    del needed[vrf]
        self._call()

    def _call(self) -> None:
        ready = [call for needed, call in self._then if not needed]
        self._then = [(needed, call) for needed, call in self._then if needed]
        for call in ready:
            call()
