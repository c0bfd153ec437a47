"""The claims of a lab as tests: one test a check, with the PEs' logs where one does not hold."""

from __future__ import annotations

from labs.lab import RunningLab
from labs.topology import Check

LOG_CHARACTERS = 1500


def hold(lab: RunningLab, check: Check) -> None:
    """Make a check; fail with what did not hold and what the PEs said."""
    outcomes = list(check(lab))
    assert outcomes, "a check that claims nothing"
    broken = [f"{o.title}: {o.evidence}" for o in outcomes if not o.ok]
    assert not broken, "\n".join([*broken, *_logs(lab)])


def _logs(lab: RunningLab) -> list[str]:
    names = [n.name for n in lab.lab.nodes if any(p.name == "pe" for p in n.programs)]
    return [f"-- {name}:\n{lab.log(name, 'pe')[-LOG_CHARACTERS:]}" for name in names]
