"""Kernel settings as files under /proc/sys/net, which shows those of our own namespace."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/proc/sys/net")


def read(paths: Iterable[str], root: Path = ROOT) -> dict[str, str | None]:
    """The value of each, None where there is no such setting."""
    return {path: _read(root / path) for path in paths}


def _read(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(64).decode().strip()
    except OSError:
        return None


def write(path: str, value: str, root: Path = ROOT) -> None:
    """Set one. Raises OSError."""
    with (root / path).open("wb", buffering=0) as file:
        file.write(value.encode())
