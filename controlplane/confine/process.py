"""The end, the memory and the limits of a worker process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


def end_with(parent: int) -> None:
    """End when ``parent`` does, and keep the memory from being read or dumped (prctl(2)).

    Raises SystemExit if that process has ended already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the node ended before its worker began")


def limit(*, files: int | None = None, memory: int | None = None) -> None:
    """Start no process, write no file and no core; for good (setrlimit(2)).

    ``files`` bounds the descriptors, ``memory`` the octets of private memory (RLIMIT_DATA). A bound
    that is lower already stays. The kernel counts processes of users other than root only.
    """
    bounds = {resource.RLIMIT_NPROC: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if files is not None:
        bounds[resource.RLIMIT_NOFILE] = files
    if memory is not None:
        bounds[resource.RLIMIT_DATA] = memory
    for kind, wanted in bounds.items():
        most = resource.getrlimit(kind)[1]
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (bound, bound))
