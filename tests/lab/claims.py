"""The claims of a lab as tests: one test a check, with the PEs' logs where one does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from labs.lab import RunningLab, running
from labs.topology import Check, Lab

LOG_CHARACTERS = 1500


def claims(wanted: Lab) -> tuple[Callable[[], Iterator[RunningLab]], Callable[..., None]]:
    """Return the fixture ``lab`` and the test of a module that tries every claim of a lab."""

    @pytest.fixture(scope="module", name="lab")
    def up() -> Iterator[RunningLab]:
        with running(wanted) as lab:
            yield lab

    @pytest.mark.parametrize("check", wanted.checks, ids=lambda check: check.__name__)
    def test_claim(lab: RunningLab, check: Check) -> None:
        hold(lab, check)

    return up, test_claim


def hold(lab: RunningLab, check: Check) -> None:
    """Make a check; fail with what did not hold and what the PEs said."""
    outcomes = list(check(lab))
    assert outcomes, "a check that claims nothing"
    broken = [f"{o.title}: {o.evidence}" for o in outcomes if not o.ok]
    assert not broken, "\n".join([*broken, *_logs(lab)])


def _logs(lab: RunningLab) -> list[str]:
    names = [n.name for n in lab.lab.nodes if any(p.name == "pe" for p in n.programs)]
    return [f"-- {name}:\n{lab.log(name, 'pe')[-LOG_CHARACTERS:]}" for name in names]
