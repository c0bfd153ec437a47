"""Kernel settings as files under /proc/sys/net, which shows those of our own namespace."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/proc/sys/net")
_LONGEST = 64


def read(paths: Iterable[str], root: Path = ROOT) -> dict[str, str | None]:
    """The value of each, None where there is no such setting."""
    folder = str(root)
    return {path: _read(f"{folder}/{path}") for path in paths}


def _read(path: str) -> str | None:
    # By hand: all of them are read every few seconds, in the node's own loop.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, _LONGEST).decode().strip()
    except OSError:
        return None
    finally:
        os.close(file)


def write(path: str, value: str, root: Path = ROOT) -> None:
    """Set one. Raises OSError."""
    with (root / path).open("wb", buffering=0) as file:
        file.write(value.encode())
