"""Sockets, programs and settings of a node, in its network namespace."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from labs.namespaces import inside


def socket_in(
    node: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
) -> socket.socket:
    """A socket of a node; it stays in its namespace."""
    with inside(node):
        return socket.socket(family, kind, protocol)


def run_in(node: str, *argv: str, stdin: str = "", check: bool = True) -> str:
    """What a program says that runs on a node. RuntimeError if it fails and ``check`` is set."""
    with inside(node):
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
    if check and done.returncode:
        raise RuntimeError(f"{node}: {' '.join(argv)}: {done.stderr or done.stdout}")
    return done.stdout


def sysctl(node: str, path: str, value: str | None = None) -> str:
    """A setting below /proc/sys/net of a node; written first where ``value`` is given."""
    with inside(node):
        # /proc/sys/net shows the namespace of the one who opens the file.
        file = Path("/proc/sys/net") / path
        if value is not None:
            file.write_text(value)
        return file.read_text().strip()
