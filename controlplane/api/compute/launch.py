"""Start a compute worker: unprivileged, without capabilities, ended by the kernel with the node."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

MODULE = "controlplane.api.compute.worker"


def launch(user: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Return a worker and the node's end of its connection. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            command_line(user, theirs.fileno()),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours


def command_line(user: str, descriptor: int) -> list[str]:
    """Return the worker's arguments: the node's process id and the descriptor of the connection."""
    worker = [sys.executable, "-P", "-m", MODULE, str(os.getpid()), str(descriptor)]
    return [*_unprivileged(user), *worker]


def _unprivileged(user: str) -> Iterator[str]:
    """setpriv (util-linux) in front where the node is root."""
    if os.geteuid() != 0:
        return
    if shutil.which("setpriv") is None:
        raise FileNotFoundError("setpriv (package util-linux) is needed to compute without root")
    group = pwd.getpwnam(user).pw_gid
    yield from ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
    yield from ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
    yield from ("--no-new-privs", "--pdeathsig=KILL", "--")
