"""Notify systemd of the node's state: ready, reloading, stopping, alive (sd_notify(3)).

Only completed iterations feed the watchdog: each feed needs an iteration of every part in
``PROOFS`` that is newer than the feed before. A part that hangs starves it, even if the event loop
itself goes on.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from controlplane.model.log import Log

PROOFS = frozenset({"router", "dataplane"})
FEEDS = 4
"""Feeds within the watchdog's period, so that one that is late does no harm."""


class ServiceManager:
    """Own the notification socket. If ``address`` is "", nothing is sent."""

    def __init__(
        self, address: str, log: Log, *, watchdog: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._log, self._clock, self._watchdog = log, clock, watchdog
        self._fed, self._proofs = clock(), set[str]()
        self._status, self._failed = "", False
        self.is_ready = False
        """True once READY=1 was sent."""

    @property
    def is_there(self) -> bool:
        """Return True if a service manager started the node and listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the node serves: the initial sync is over, or a reload has been applied."""
        self.is_ready = True
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Report a status line, if it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """Report that a reload begins; ``ready`` reports its end."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the node stops."""
        self._send("STOPPING=1")

    def turn_completed(self, part: str) -> None:
        """Feed the watchdog once every part in ``PROOFS`` has completed an iteration since.

        Before READY the same turns extend the time that systemd allows for the start.
        """
        if not self._watchdog or part not in PROOFS:
            return
        self._proofs.add(part)
        now = self._clock()
        if self._proofs != PROOFS or now - self._fed < self._watchdog / FEEDS:
            return
        self._fed = now
        self._proofs.clear()
        more = "" if self.is_ready else f"\nEXTEND_TIMEOUT_USEC={int(self._watchdog * 1e6)}"
        self._send(f"WATCHDOG=1{more}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as once:
                once.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                reason = f"{error.strerror or error}"
                self._log("warning", "service_manager_unreachable", {"reason": reason})
            self._failed = True
        else:
            self._failed = False


def from_environment(
    log: Log, environment: MutableMapping[str, str] = os.environ
) -> ServiceManager:
    """Take over what systemd put into the environment; child processes do not get it."""
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", "")
    ours = not pid or pid == str(os.getpid())
    watchdog = int(microseconds) / 1e6 if microseconds.isdigit() and ours else 0.0
    if address and address[0] not in "/@":
        log("warning", "service_manager_unreachable", {"reason": f"NOTIFY_SOCKET {address!r}"})
        address = ""
    return ServiceManager(address, log, watchdog=watchdog)
