"""A Bulkhead PE as a program of a lab node."""

from __future__ import annotations

import sys
from pathlib import Path

from labs.topology import Program

API = "{dir}/run/api.sock"


def pe(config: str, *options: str, name: str = "pe") -> Program:
    """``pe run`` with this configuration; its folders are the node's own."""
    folders = "run-dir: {dir}/run\nstate-dir: {dir}/state\n"
    return Program(
        name,
        (command(), "run", "{dir}/pe.yaml", *options),
        files={"pe.yaml": folders + config},
        env={"BULKHEAD_SOCKET": API},
        ready=API,
        ready_seconds=60.0,
    )


def command() -> str:
    """The ``pe`` command of this environment."""
    return str(Path(sys.executable).with_name("pe"))
