"""Where a guest's memory lies and on which CPU it runs: both decide whether it is usable."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEEDED_MAP_COUNT = 2_000_000
"""A guest process's pages are mappings of one host process: the default of 65,530 kills
large ones with SIGSEGV."""


def parse_size(text: str) -> int:
    """Return the bytes that ``4G``, ``512M`` or a plain number means; ValueError otherwise."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    digits = text[:-1] if factor else text
    if not (digits.isascii() and digits.isdecimal() and int(digits)):
        raise ValueError(f"{text!r} is no size: write 4G, 512M or a number of bytes")
    return int(digits) * (factor or 1)


def memory_directory(size: int) -> Path:
    """Return a directory that can hold the guest's memory, ``size`` bytes of it, as a file.

    The guest maps that file executable, so a ``noexec`` mount (a container's /dev/shm,
    often of 64 MB only) will not do. Raises OSError when no place is large enough.
    """
    for candidate in (Path("/dev/shm"), Path(tempfile.gettempdir()), Path("/var/tmp")):  # noqa: S108
        try:
            room = os.statvfs(candidate)
        except OSError:
            continue
        if room.f_bavail * room.f_frsize >= size and not room.f_flag & os.ST_NOEXEC:
            return candidate
    raise OSError(f"no directory can hold {size >> 20} MB of guest memory; give it less (--mem)")


def allow_many_mappings() -> None:
    """Raise ``vm.max_map_count`` where it is too low and we may."""
    setting = Path("/proc/sys/vm/max_map_count")
    with contextlib.suppress(OSError):
        if int(setting.read_text()) < NEEDED_MAP_COUNT:
            setting.write_text(str(NEEDED_MAP_COUNT))


def allow_many_files() -> None:
    """Raise the limit of open files as far as we may: a guest holds one for every file of the
    host that is in use inside, and 1024, a user's usual share, are soon gone."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def own_cpu() -> Iterator[int]:
    """Yield a CPU for one guest, another one for each guest as long as there are any.

    A guest is two processes that hand over to each other at every system call and page
    fault. Left to the scheduler they sit on two CPUs and wake each other by interrupt;
    on one CPU everything inside runs more than twice as fast.
    """
    cpus = sorted(os.sched_getaffinity(0))
    random.shuffle(cpus)
    for cpu in cpus:
        lock = Path(tempfile.gettempdir()) / f"bulkhead-guest-cpu-{cpu}.lock"
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(lock.open("a"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield cpu
            return
    yield cpus[0]
