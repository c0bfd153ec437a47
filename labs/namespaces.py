"""Acting in another network namespace than one's own."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from labs.lab import NETNS

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Put the calling thread, and the programs that it starts, into a named namespace; sockets made
    there stay there.

    Raises FileNotFoundError when there is no such namespace, OSError when we may not.
    """
    with open("/proc/thread-self/ns/net") as ours, (NETNS / name).open() as theirs:  # noqa: PTH123
        _enter(theirs.fileno())
        try:
            yield
        finally:
            _enter(ours.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
