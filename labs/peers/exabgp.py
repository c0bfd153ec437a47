"""ExaBGP on a node, as a customer's router or an attacker: what it announces is scripted.

The process's commands come from a named pipe in the node's directory, so that a check can
``announce`` and ``withdraw`` while the session is up; what it receives is in its log.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labs.topology import Program

if TYPE_CHECKING:
    from labs.lab import RunningLab

PIPE = "exabgp.commands"

# ExaBGP reads commands from its child's output. The child keeps the pipe open for writing
# too, so that it does not end when the first writer does.
_FEED = "mkfifo {dir}/exabgp.commands; touch {dir}/exabgp.ready; exec cat <>{dir}/exabgp.commands"

_PROCESS = """
process commands {{
    run /bin/sh {{dir}}/exabgp.feed;
    encoder json;
}}
"""


def program(neighbors: str, *, name: str = "exabgp", env: dict[str, str] | None = None) -> Program:
    """Return ExaBGP with the text of its neighbour sections.

    Each section that is to take commands names ``api { processes [ commands ]; }``.
    """
    return Program(
        name=name,
        argv=(str(Path(sys.executable).with_name("exabgp")), "server", "{dir}/exabgp.conf"),
        files={
            "exabgp.conf": _PROCESS.format() + neighbors,
            "exabgp.feed": f"rm -f {{dir}}/{PIPE}; {_FEED}\n",
        },
        env={
            "exabgp_cli_pipe": "",
            "exabgp_cli_socket": "",
            "exabgp_daemon_user": "root",
            "exabgp_daemon_drop": "false",
            "exabgp_log_all": "false",
            "exabgp_log_level": "INFO",
            "exabgp_api_ack": "false",
            **(env or {}),
        },
        ready="exabgp.ready",
    )


def command(lab: RunningLab, node: str, line: str) -> None:
    """Give one command (``announce route ...``) to the ExaBGP of a node."""
    with (lab.dir(node) / PIPE).open("w") as pipe:
        pipe.write(line + "\n")
