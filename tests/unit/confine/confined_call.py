"""Makes system calls, as a worker is confined or free: ``confined_call.py confined|free``.

Prints the errno of each, 0 if there is none. A script of its own: a filter stays for the life of a
process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from controlplane.speaker.worker import confinement

PTRACE_TRACEME, BPF_MAP_CREATE, IOPRIO_WHO_PROCESS, TCP_ULP = 0, 0, 1, 31
NUMBERS = {  # x86_64, aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138),
    "tgkill": (234, 131), "tkill": (200, 130), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "bpf": (321, 280), "keyctl": (250, 219), "add_key": (248, 217),
    "ioprio_set": (251, 30), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "memfd_create": (319, 279), "userfaultfd": (323, 282), "chroot": (161, 51),
    "execveat": (322, 281), "clone3": (435, 435), "landlock_create_ruleset": (444, 444),
    "openat2": (437, 437), "new": (1000, 1000), "x32_getpid": (0x40000000 + 39, 172),
}  # fmt: skip
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Make a system call by its number; OSError if it fails."""
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    long = ctypes.c_long
    words = [long(a) if isinstance(a, int) else a for a in arguments]
    words += [long(0)] * (6 - len(words))
    if libc.syscall(long(number), *words) == -1:
        raise OSError(ctypes.get_errno(), name)


def fork() -> None:
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)


def thread() -> None:
    try:
        threading.Thread(target=int).start()
    except RuntimeError as refused:  # the C library's EPERM or EAGAIN has no number here
        raise PermissionError(errno.EPERM, str(refused)) from None


def execute() -> None:
    """Run a program that does not exist: ENOENT where the kernel looks for it."""
    with contextlib.suppress(FileNotFoundError):
        os.execv("/nonexistent/program", ["program"])  # noqa: S606


def opened(family: int, kind: int, protocol: int = 0) -> Callable[[], None]:
    return lambda: socket.socket(family, kind, protocol).close()


def option(level: int, name: int, value: bytes = b"\1\0\0\0") -> Callable[[], None]:
    def set_it() -> None:
        with socket.socket() as made:
            made.setsockopt(level, name, value)

    return set_it


def mapped(protection: int) -> Callable[[], None]:
    return lambda: mmap.mmap(-1, 4096, prot=protection).close()


def executable() -> None:
    """Make memory that was written to executable."""
    libc.mmap.restype = ctypes.c_void_p
    at = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_size_t(0))
    if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), 5):
        raise OSError(ctypes.get_errno(), "mprotect")


def write(flags: int) -> Callable[[], None]:
    return lambda: os.close(os.open("/dev/null", flags))


def lower_own_limit() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))
    except ValueError as refused:  # Python's word for EPERM
        raise PermissionError(errno.EPERM, str(refused)) from None


PARENT, AFFINITY = os.getppid(), os.sched_getaffinity(0)
WX = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
OPEN: dict[str, Callable[[], object]] = {
    "fork": fork,
    "thread": thread,
    "execve": execute,
    "kill": lambda: os.kill(PARENT, 0),
    "kill the group": lambda: os.kill(0, 0),
    "kill all": lambda: os.kill(-PARENT, 0),
    "tkill": lambda: call("tkill", PARENT, signal.SIGCONT),
    "tgkill": lambda: call("tgkill", PARENT, PARENT, signal.SIGCONT),
    "ioprio_set": lambda: call("ioprio_set", IOPRIO_WHO_PROCESS, 0, 2 << 13 | 4),
    "sched_setaffinity": lambda: os.sched_setaffinity(0, AFFINITY),
    "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    "memfd_create": lambda: call("memfd_create", b"name"),
    "prlimit of another": lambda: resource.prlimit(PARENT, resource.RLIMIT_NOFILE),
    "setrlimit": lower_own_limit,
    "write": write(os.O_WRONLY),
    "read and write": write(os.O_RDWR),
    "truncate": write(os.O_RDONLY | os.O_TRUNC),
    "mkdir": lambda: Path("/nonexistent/folder").mkdir(),
    "unlink": lambda: Path("/nonexistent/file").unlink(),
    "datagrams": opened(socket.AF_INET, socket.SOCK_DGRAM),
    "IPv6 datagrams": opened(socket.AF_INET6, socket.SOCK_DGRAM),
    "Unix stream": opened(socket.AF_UNIX, socket.SOCK_STREAM),
    "Unix datagrams": opened(socket.AF_UNIX, socket.SOCK_DGRAM),
    "netlink": opened(socket.AF_NETLINK, socket.SOCK_RAW),
    "kTLS": option(socket.IPPROTO_TCP, TCP_ULP, b"tls"),
    "socket filter": option(socket.SOL_SOCKET, 26, bytes(16)),
    "memory to write and run": mapped(WX),
    "written memory to run": executable,
}
"""Open to every process."""
GUARDED: dict[str, Callable[[], object]] = {
    "ptrace": lambda: call("ptrace", PTRACE_TRACEME),
    "process_vm_readv": lambda: call("process_vm_readv", os.getpid()),
    "process_vm_writev": lambda: call("process_vm_writev", os.getpid()),
    "pidfd_open": lambda: call("pidfd_open", PARENT),
    "unshare": lambda: call("unshare", 0),
    "keyctl": lambda: call("keyctl", 0, -3),  # KEYCTL_GET_KEYRING_ID, the session's
    "bpf": lambda: call("bpf", BPF_MAP_CREATE),
    "setns": lambda: call("setns", -1),
    "mount": lambda: call("mount", b"none", b"/nonexistent", b"tmpfs"),
    "chroot": lambda: call("chroot", b"/nonexistent"),
    "perf_event_open": lambda: call("perf_event_open"),
    "io_uring_setup": lambda: call("io_uring_setup"),
    "userfaultfd": lambda: call("userfaultfd", -1),
    "add_key": lambda: call("add_key"),
    "rt_sigqueueinfo": lambda: call("rt_sigqueueinfo", PARENT),
    "pidfd_send_signal": lambda: call("pidfd_send_signal", -1),
    "execveat": lambda: call("execveat", -1, b"/nonexistent"),
    "clone3": lambda: call("clone3"),
    "landlock": lambda: call("landlock_create_ruleset"),
    "openat2": lambda: call("openat2", -100, b"/nonexistent"),
    "raw packets": opened(socket.AF_PACKET, socket.SOCK_RAW),
    "raw IP": opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "SCTP": opened(socket.AF_INET, socket.SOCK_STREAM, 132),
    "Multipath TCP": opened(socket.AF_INET, socket.SOCK_STREAM, 262),
}
"""Need rights, or are filtered by many containers."""
FORBIDDEN = {**OPEN, **GUARDED}

NEEDED: dict[str, Callable[[], object]] = {
    "TCP": opened(socket.AF_INET, socket.SOCK_STREAM),
    "TCP over IPv6": opened(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "device": option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"),
    "least TTL": option(socket.IPPROTO_IP, confinement.IP_MINTTL, b"\xff\0\0\0"),
    "read": lambda: Path(__file__).read_text(),
    "list": lambda: list(Path("/").iterdir()),
    "own process": lambda: os.kill(os.getpid(), 0),
    "own limits": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
    "memory": mapped(mmap.PROT_READ | mmap.PROT_WRITE),
    "library": lambda: __import__("_lsprof"),
    "pair": socket.socketpair,
    "pipe's mode": lambda: os.set_blocking(0, True),
}

BEYOND: dict[str, Callable[[], object]] = {"new": lambda: call("new")}
"""A call that this kernel does not know, nor the filter."""


def errno_of(act: Callable[[], object]) -> int:
    """0 if there is none."""
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


def apart(act: Callable[[], object]) -> int:
    """Make a call in a process of its own, which it may change."""
    child = os.fork()
    if not child:
        os._exit(errno_of(act))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(how: str) -> None:
    """Print what becomes of each call."""
    acts = {**FORBIDDEN, **NEEDED, **BEYOND}
    if how == "free":
        found = {name: apart(act) for name, act in acts.items()}
    else:
        refused = confinement.confine(1)
        if refused:
            raise SystemExit(refused)
        found = {name: errno_of(act) for name, act in acts.items()}
    os.write(1, json.dumps(found).encode())


if __name__ == "__main__":
    main(sys.argv[1])
