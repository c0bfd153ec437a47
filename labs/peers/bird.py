"""BIRD 2 on a node, where the distribution's package ``bird2`` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs.topology import Program

if TYPE_CHECKING:
    from labs.lab import RunningLab


def program(config: str) -> Program:
    """Return bird with a configuration in its own language."""
    return Program(
        name="bird",
        argv=("bird", "-f", "-c", "{dir}/bird.conf", "-s", "{dir}/bird.ctl"),
        files={"bird.conf": config},
        ready="bird.ctl",
    )


def birdc(lab: RunningLab, node: str, *words: str) -> str:
    """Run the client on a node and return what it prints; LabError if it fails."""
    return lab.run(node, "birdc", "-s", "{dir}/bird.ctl", *words).stdout
