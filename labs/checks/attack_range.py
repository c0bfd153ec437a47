"""What the range for attacks shows before anybody attacks: it is a working network."""

from __future__ import annotations

from collections.abc import Iterator

from labs.checks.reach import PATIENCE, lan_address, ping, summary
from labs.lab import RunningLab
from labs.topology import Check, Outcome
from labs.waiting import until


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """The static sites find each other, so that silence under attack means a guard."""
    for vpn in ("red", "blue"):
        for v6 in (False, True):
            yield _answers(lab, f"ce-{vpn}-2", lan_address(3, v6=v6), lan_address(2, v6=v6))


def _answers(lab: RunningLab, name: str, address: str, source: str) -> Outcome:
    until(lambda: ping(lab, name, address, source, count=1).returncode == 0, PATIENCE, every=0.5)
    done = ping(lab, name, address, source)
    return Outcome(done.returncode == 0, f"{name} reaches {address}", summary(done.stdout))


CHECKS: tuple[Check, ...] = (reach,)
