"""What a worker may still do once it reads what peers send: TCP, its pipes, and reading files.

No other process can be started, signalled or looked into, no other kind of socket opened, no file
written, no namespace or kernel interface entered (BGP-14). ExaBGP's calls were traced; the others
are those of Python's own that reach nothing beyond the process.
"""

from __future__ import annotations

import os
import socket

from controlplane.confine.process import limit
from controlplane.confine.seccomp import ANY, Arguments, Match, Rules, install
from controlplane.speaker.room import files_for

FILES = (
    "access", "chdir", "close", "dup", "faccessat", "faccessat2", "fadvise64", "fstat", "getcwd",
    "getdents64", "lseek", "lstat", "newfstatat", "pread64", "read", "readlink", "readlinkat",
    "readv", "stat", "statx", "umask", "write", "writev",
)  # fmt: skip
CONNECTIONS = (
    "accept", "accept4", "bind", "connect", "epoll_create1", "epoll_ctl", "epoll_pwait",
    "epoll_wait", "getpeername", "getsockname", "getsockopt", "listen", "poll", "ppoll", "pselect6",
    "recvfrom", "select", "sendto", "shutdown",
)  # fmt: skip
ITSELF = (
    "brk", "exit", "exit_group", "futex", "getcpu", "getegid", "geteuid", "getgid", "getpid",
    "getppid", "getrandom", "getrlimit", "getrusage", "gettid", "getuid", "madvise", "membarrier",
    "mremap", "munmap", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sched_yield", "set_robust_list", "setgid", "setuid", "sigaltstack", "sysinfo", "uname",
)  # fmt: skip
"""setuid and setgid: ExaBGP gives up root where it has it, and else has none to take."""
TIME = (
    "clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
    "times",
)  # fmt: skip

PROT_WRITE, PROT_EXEC = 2, 4
O_TMPFILE = 0o20000000
WRITES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | O_TMPFILE
FIONBIO, FIONCLEX, FIOCLEX, FIONREAD, TCGETS = 0x5421, 0x5450, 0x5451, 0x541B, 0x5401
F_DUPFD_CLOEXEC, DESCRIPTOR_COMMANDS = 1030, (1, 2, 3, 4)
TYPE_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
IP_TTL, IP_MINTTL, IPV6_UNICAST_HOPS, IPV6_V6ONLY, IPV6_MINHOPCOUNT = 2, 21, 16, 26, 73
TCP_NODELAY, TCP_MD5SIG = 1, 14
OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_SNDBUF),
    (socket.SOL_SOCKET, socket.SO_RCVBUF),
    (socket.SOL_SOCKET, socket.SO_BINDTODEVICE),
    (socket.IPPROTO_IP, IP_TTL),
    (socket.IPPROTO_IP, IP_MINTTL),
    (socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS),
    (socket.IPPROTO_IPV6, IPV6_V6ONLY),
    (socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT),
    (socket.IPPROTO_TCP, TCP_NODELAY),
    (socket.IPPROTO_TCP, TCP_MD5SIG),
)
"""(level, option) of setsockopt(2): what a BGP session needs. Others reach much of the kernel."""


def one_of(argument: int, *values: int) -> tuple[Arguments, ...]:
    """Allow these values of an argument."""
    return tuple((Match(argument, value),) for value in values)


def rules(pid: int) -> Rules:
    """Return what the process with this id may do, which has one thread."""
    sockets = tuple(
        (
            Match(0, family),
            Match(1, socket.SOCK_STREAM, mask=~TYPE_FLAGS & 0xFFFFFFFF),
            Match(2, protocol),
        )
        for family in (socket.AF_INET, socket.AF_INET6)
        for protocol in (0, socket.IPPROTO_TCP)
    )
    return {
        **dict.fromkeys((*FILES, *CONNECTIONS, *ITSELF, *TIME), ANY),
        "socket": sockets,
        "socketpair": one_of(0, socket.AF_UNIX),  # asyncio's own, which reaches nothing
        "setsockopt": tuple((Match(1, level), Match(2, option)) for level, option in OPTIONS),
        "open": ((Match(1, 0, mask=WRITES),),),
        "openat": ((Match(2, 0, mask=WRITES),),),
        "fcntl": one_of(1, *DESCRIPTOR_COMMANDS, F_DUPFD_CLOEXEC),
        "ioctl": one_of(1, FIONBIO, FIONCLEX, FIOCLEX, FIONREAD, TCGETS),
        # No memory is written and run, so that a library of Python's can still be loaded.
        "mmap": ((Match(2, 0, mask=PROT_WRITE),), (Match(2, 0, mask=PROT_EXEC),)),
        "mprotect": ((Match(2, 0, mask=PROT_EXEC),),),
        "kill": one_of(0, pid),  # abort(3)
        "tgkill": one_of(0, pid),
        # To read its own limits: no new ones.
        "prlimit64": tuple(
            (Match(0, who), Match(2, 0), Match(2, 0, upper=True)) for who in (0, pid)
        ),
    }


def confine(sessions: int) -> str:
    """Take from this process what a worker with so many sessions does not need.

    Returns "", or why the system calls cannot be filtered; the limits hold in any case.
    """
    limit(files=files_for(sessions))
    return install(rules(os.getpid()))
