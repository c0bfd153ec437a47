"""Start ExaBGP, joined to the node through inherited file descriptors.

``python -m controlplane.speaker.worker PARENT COMMANDS REPORTS CONFIGURATION [DEVICE]``: the node's
process id, the three descriptors, and the VRF device for listening sockets.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from exabgp.configuration.configuration import Configuration
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.reactor import loop

from controlplane.speaker import wire
from controlplane.speaker.throttle import LOG_LINES, LOG_SECONDS, Throttle
from controlplane.speaker.worker import listening, outgoing, sessions, updates
from controlplane.speaker.worker import update_batching as bursts
from controlplane.speaker.worker.commands import Commands
from controlplane.speaker.worker.link import Link

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
CRASH_LINES, CRASH_TAIL = 20, 6


class MemoryConfiguration(Configuration):  # type: ignore[misc]
    """Reads its text from a memory file, so that no secret is ever on a disk."""

    def __init__(self, descriptor: int) -> None:
        super().__init__([""], text=True)
        self._descriptor = descriptor

    def reload(self) -> Any:
        """Read and parse again; the TCP MD5 keys never pass through ExaBGP's parser."""
        size = os.fstat(self._descriptor).st_size
        given = msgspec.json.decode(
            os.pread(self._descriptor, size, 0), type=wire.WorkerConfiguration
        )
        self._configurations = [given.text]
        accepted = super().reload()
        for neighbor in self.neighbors.values():
            neighbor["md5-password"] = given.md5.get(str(neighbor["peer-address"]))
        return accepted


class NodeReactor(loop.Reactor):  # type: ignore[misc]
    """ExaBGP's loop with the node's commands."""

    def __init__(self, configuration: MemoryConfiguration) -> None:
        super().__init__(configuration)
        self.api = Commands(self)


def die_with(parent: int) -> None:
    """End when the node does, and keep the memory, with its keys, from being read or dumped."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the node was gone before we began")


def report_log(link: Link) -> None:
    """Warnings and worse become lines to the node; what is below is not even put together."""

    def quiet(message: object, source: str = "", level: str = "") -> None:
        del message, source, level

    throttle = Throttle(LOG_LINES, LOG_SECONDS, time.monotonic)

    def speak(severity: wire.Level) -> Callable[..., None]:
        def line(message: Any, source: str = "", level: str = "") -> None:
            del level
            if not throttle.lets():
                return
            text = condensed(str(message() if callable(message) else message))
            text = f"{source}: {text}" if source else text
            link.tell(wire.LogLine(severity, text, missed=throttle.missed()))

        return line

    log.debug = log.info = quiet
    log.warning = speak("warning")
    log.error, log.critical, log.fatal = speak("error"), speak("error"), speak("error")


def throttled(link: Link) -> Callable[[wire.Malformed], None]:
    """Malformed UPDATEs become lines too, as long as there are not too many of one peer."""
    throttle = Throttle(LOG_LINES, LOG_SECONDS, time.monotonic)

    def tell(report: wire.Malformed) -> None:
        if throttle.lets(report.peer):
            report.missed = throttle.missed(report.peer)
            link.tell(report)

    return tell


def condensed(text: str) -> str:
    """One line; of ExaBGP's crash reports, pages long, what the traceback ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" *-")]
    return " | ".join(lines if len(lines) < CRASH_LINES else lines[-CRASH_TAIL:-1])


def install(link: Link, device: str) -> None:
    """Put our parts in the place of ExaBGP's."""
    loop.Processes = lambda: link
    report_log(link)
    updates.install(throttled(link))
    bursts.install()
    outgoing.install()
    sessions.install(link)
    listening.install(device)


def main(arguments: list[str]) -> int:
    """Run until told to stop; the exit status is ExaBGP's."""
    parent, commands, reports, configuration = map(int, arguments[:4])
    die_with(parent)
    getenv()
    link = Link(commands, reports)
    install(link, arguments[4] if len(arguments) > 4 else "")
    # What is loaded by now stays: without it in every collection a full one is cheap.
    gc.collect()
    gc.freeze()
    return int(NodeReactor(MemoryConfiguration(configuration)).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
