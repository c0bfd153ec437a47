"""A Bulkhead PE as a program of a lab node."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from labs.topology import Program

API = "{dir}/run/api.sock"
ROOT = Path(__file__).resolve().parents[2]


def pe(config: str, *options: str, name: str = "pe") -> Program:
    """``pe run`` with this configuration; its folders are the node's own."""
    folders = "run-dir: {dir}/run\nstate-dir: {dir}/state\n"
    return Program(
        name,
        (*measured(), command(), "run", "{dir}/pe.yaml", *options),
        files={"pe.yaml": folders + config},
        env={"BULKHEAD_SOCKET": API},
        ready=API,
        ready_seconds=60.0,
    )


def measured() -> tuple[str, ...]:
    """What goes before ``pe`` so that the node's branch coverage is left in $COVERAGE_DIR."""
    if not (folder := os.environ.get("COVERAGE_DIR")):
        return ()
    options = (f"--rcfile={ROOT / 'pyproject.toml'}", f"--data-file={folder}/.coverage.node")
    return (sys.executable, "-m", "coverage", "run", "--parallel-mode", *options)


def command() -> str:
    """The ``pe`` command of this environment."""
    return str(Path(sys.executable).with_name("pe"))
