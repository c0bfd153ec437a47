"""Start a worker: unprivileged, with no right but to bind port 179, ended when the node ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PIPE_SIZE = 1 << 20
MODULE = "controlplane.speaker.worker"


@dataclass(frozen=True, slots=True)
class Launched:
    """A running worker and the node's ends of its pipes."""

    process: subprocess.Popen[bytes]
    commands: int
    reports: int
    errors: int

    def close(self) -> None:
        """Close the node's ends."""
        for descriptor in (self.commands, self.reports, self.errors):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def launch(*, user: str, uid: int = 0, device: str, run_dir: Path) -> Launched:
    """Start a worker, which waits for its configuration; OSError if that fails.

    It runs with the group of ``user``, and as ``uid`` where that is not 0.
    """
    with contextlib.ExitStack() as undo:
        commands, reports, errors = (_pipe(undo) for _ in range(3))
        inherited = (commands[0], reports[1])
        process = subprocess.Popen(
            command_line(user, uid, inherited, device),
            stdin=subprocess.DEVNULL,
            stdout=errors[1],
            stderr=errors[1],
            pass_fds=inherited,
            env=environment(user),
            cwd=run_dir if run_dir.is_dir() else "/",
            start_new_session=True,
        )
        undo.pop_all()
    for descriptor in (commands[0], reports[1], errors[1]):
        os.close(descriptor)
    for descriptor in (commands[1], reports[0], errors[0]):
        os.set_blocking(descriptor, False)
    return Launched(process, commands[1], reports[0], errors[0])


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for descriptor in ends:
        undo.callback(os.close, descriptor)
    # A small pipe works as well, only slower: an unprivileged node may be over its share.
    with contextlib.suppress(OSError):
        fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return ends


def command_line(user: str, uid: int, inherited: tuple[int, ...], device: str) -> list[str]:
    """Return the worker's arguments; no secret is among them."""
    worker = [sys.executable, "-P", "-m", MODULE, str(os.getpid()), *map(str, inherited)]
    return [*_unprivileged(user, uid), *worker, *([device] if device else [])]


def _unprivileged(user: str, uid: int) -> Iterator[str]:
    """Yield setpriv (util-linux) and its options where the node is root; nothing where not."""
    if os.geteuid() != 0:
        return
    if shutil.which("setpriv") is None:
        raise FileNotFoundError("setpriv (package util-linux) is needed to run BGP without root")
    yield from ("setpriv", f"--reuid={uid or user}", f"--regid={_group(user)}", "--clear-groups")
    yield from ("--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service")
    yield from ("--bounding-set=-all,+net_bind_service", "--no-new-privs", "--pdeathsig=KILL", "--")


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def environment(user: str) -> dict[str, str]:
    """Return the worker's whole environment: nothing of the node's, no files of ExaBGP's."""
    settings = {
        "api.cli": "false",
        "api.ack": "false",
        "daemon.user": user,
        "log.level": "WARNING",
        "log.destination": "stderr",
        # The loop wakes for sockets and pipes by itself; this is its tick in tenths of a second.
        "reactor.speed": "10.0",
        "tcp.bind": "",
        "bgp.openwait": "30",
    }
    exabgp = {f"exabgp.{name}": value for name, value in settings.items()}
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "EXABGP_ENVFILE": "/dev/null",
        "EXABGP_ROOT": "/",
        **exabgp,
    }
