"""Acting inside a node's network namespace for the length of a ``with`` block."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(node: str) -> Iterator[None]:
    """This thread, the sockets it opens and the programs it starts, in a node's namespace."""
    with Path("/proc/thread-self/ns/net").open() as home:
        with Path(f"/run/netns/{node}").open() as there:
            _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


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
