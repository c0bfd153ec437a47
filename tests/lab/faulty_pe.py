"""``pe``, with faults that a test asks for: ``python -m tests.lab.faulty_pe FOLDER run FILE``.

While ``FOLDER/fault`` holds one of the names below, that code raises; ``once-`` before the name
means that it does so once, and the file is gone afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.router import Router
from pe.cli.main import main
from pe.dataplane.reconciler import DataplaneReconciler
from pe.netlink.events import EventSocket

FAULTS = {
    "turn": (DataplaneReconciler, "_iterate"),
    "events": (EventSocket, "read"),
    "decision": (Router, "handle"),
}


def inject(fault: Path, name: str, owner: type, method: str) -> None:
    """Have a method raise while the file asks for it."""
    stock: Callable[..., Any] = getattr(owner, method)

    def faulty(*arguments: Any, **more: Any) -> Any:
        asked = fault.read_text() if fault.exists() else ""
        if asked.removeprefix("once-") == name:
            if asked.startswith("once-"):
                fault.unlink()
            if name == "events":
                arguments[0]._socket.receive()  # what was read is lost with the exception
            raise KeyError(f"injected into {name}")
        return stock(*arguments, **more)

    setattr(owner, method, faulty)


if __name__ == "__main__":
    folder = sys.argv.pop(1)
    for each, (owner, method) in FAULTS.items():
        inject(Path(folder) / "fault", each, owner, method)
    main()
