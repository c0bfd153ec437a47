"""``pe``, with faults that a test asks for: ``python -m tests.lab.faulty_pe FOLDER run FILE``.

Each call of ``CALLS`` can be made to raise. ``FOLDER/faults.sock`` takes one line a connection and
answers with one:

* ``arm CALL ERROR TIMES``: the next calls raise; ERROR is an errno's name, KeyError or ValueError,
  TIMES 0 is without end. Answer: ``armed``.
* ``fired CALL``: how often it has raised since.
* ``disarm``: all calls pass again.
"""

from __future__ import annotations

import errno
import os
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.api.access.audit import AuditLog
from controlplane.router import Router
from controlplane.speaker import process
from controlplane.speaker.pool import SpeakerPool
from controlplane.store import EmbeddedStore, StoreError
from pe import supervisor
from pe.cli.main import main
from pe.dataplane.reconciler import DataplaneReconciler
from pe.netlink.events import EventSocket
from tests.faults.adapters import ERRORS, owner

PARTS: dict[str, tuple[Any, str]] = {
    "DataplaneReconciler._iterate": (DataplaneReconciler, "_iterate"),
    "Router.handle": (Router, "handle"),
    "EmbeddedStore.save_labels": (EmbeddedStore, "save_labels"),
    "EmbeddedStore.save_attachment": (EmbeddedStore, "save_attachment"),
    "AuditLog.write": (AuditLog, "write"),
    "SpeakerPool.configure": (SpeakerPool, "configure"),
    "SpeakerProcess._readable": (process.SpeakerProcess, "_readable"),
    "process.launch": (process, "launch"),
}
OTHERS: dict[str, type[Exception]] = {"KeyError": KeyError, "ValueError": ValueError}
CALLS = {**{call: owner(call) for call in ERRORS}, **PARTS}


class Armed:
    """The calls that raise: how often still (0: without end), and how often they have."""

    def __init__(self) -> None:
        self.errors: dict[str, tuple[str, int]] = {}
        self.fired: dict[str, int] = {}

    def say(self, line: str) -> str:
        """Do what a line asks for; return the answer."""
        match line.split():
            case ["arm", call, error, times] if call in CALLS:
                self.fired[call] = 0
                self.errors[call] = (error, int(times))
                return "armed"
            case ["fired", call]:
                return str(self.fired.get(call, 0))
            case ["disarm"]:
                self.errors.clear()
                return "disarmed"
        return f"not understood: {line}"

    def take(self, call: str) -> Exception | None:
        """Return what this call is to raise."""
        error, times = self.errors.get(call, ("", 0))
        if not error:
            return None
        self.fired[call] += 1
        if times == 1:
            del self.errors[call]
        elif times:
            self.errors[call] = (error, times - 1)
        text = f"injected into {call}"
        if error in OTHERS:
            return OTHERS[error](text)
        if call.startswith("EmbeddedStore."):
            return StoreError(text)
        return OSError(getattr(errno, error), text)


def inject(armed: Armed, call: str, found: Any, name: str) -> None:
    """Have a call raise while it is armed."""
    stock: Callable[..., Any] = getattr(found, name)

    def faulty(*arguments: Any, **more: Any) -> Any:
        error = armed.take(call)
        if error is None:
            return stock(*arguments, **more)
        if found is EventSocket:
            arguments[0]._socket.receive()  # what was read is lost with the exception
            if getattr(error, "errno", 0) == errno.ENOBUFS:  # the kernel says so by it
                return arguments[0]._lost()
        raise error

    setattr(found, name, faulty)


def listen(armed: Armed, path: Path) -> None:
    """Serve the socket, in a thread."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(f"{armed.say(self.rfile.readline().decode())}\n".encode())

    path.unlink(missing_ok=True)
    server = socketserver.UnixStreamServer(str(path), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    folder = sys.argv.pop(1)
    supervisor.PERIOD = float(os.environ.get("FAULTS_COUNTED_SECONDS", supervisor.PERIOD))
    faults = Armed()
    for each, (adapter, method) in CALLS.items():
        inject(faults, each, adapter, method)
    listen(faults, Path(folder) / "faults.sock")
    main()
