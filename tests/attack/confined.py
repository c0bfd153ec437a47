"""Runs a command as systemd would run a unit's: ``confined.py UNIT WRITABLE COMMAND...``.

What of the unit can break a node is done to it, by the kernel's own means: the bounding set, no
new privileges, a read-only file system but for WRITABLE, no memory that is writable and executable,
the allowed system calls and address families. What only hides files is left out.
"""

from __future__ import annotations

import configparser
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
SCMP_ACT_ERRNO_EPERM, SCMP_ACT_ALLOW, SCMP_CMP_EQ = 0x00050001, 0x7FFF0000, 4
INNER = "--inner"


class Unit:
    """The ``[Service]`` section of a unit file."""

    def __init__(self, path: Path) -> None:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are
        parser.read(path)
        self.service = parser["Service"]

    def words(self, key: str) -> list[str]:
        """Return the value of a key, in words; none if it is not there."""
        return self.service.get(key, "").split()

    def is_on(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.service.get(key) in ("yes", "true", "on", "1")


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int),
        ("a", ctypes.c_uint64), ("b", ctypes.c_uint64),
    )  # fmt: skip


def read_only(writable: str) -> None:
    """In this mount namespace, which ``ip netns exec`` made, as ProtectSystem=strict has it."""
    for command in (
        f"mount --bind {writable} {writable}",
        "mount -o remount,bind,ro /run",
        "mount -o remount,bind,ro /",
    ):
        subprocess.run(command.split(), check=True)


def system_calls(groups: list[str]) -> Iterator[str]:
    """Yield the members of system call groups, as systemd of this machine has them."""
    for group in groups:
        if not group.startswith("@"):
            yield group
            continue
        command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [line.strip() for line in listed.splitlines()[1:]]
        yield from system_calls([line for line in lines if line and not line.startswith("#")])


def load_filter(unit: Unit) -> None:
    """Only the unit's system calls, ``socket`` only with its address families."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(SCMP_ACT_ERRNO_EPERM))
    allow = ctypes.c_uint32(SCMP_ACT_ALLOW)
    for name in {*system_calls(unit.words("SystemCallFilter"))} - {"socket"}:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:
            library.seccomp_rule_add(context, allow, number, 0)
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in unit.words("RestrictAddressFamilies"):
        only = _Comparison(0, SCMP_CMP_EQ, getattr(socket, family), 0)
        library.seccomp_rule_add_array(context, allow, number, 1, ctypes.byref(only))
    if library.seccomp_load(context):
        raise OSError("the filter of system calls is refused")


def main(arguments: list[str]) -> None:
    """Confine, and become the command."""
    if arguments[0] == INNER:
        unit, command = Unit(Path(arguments[1])), arguments[2:]
        if unit.is_on("MemoryDenyWriteExecute"):
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "PR_SET_MDWE")
        load_filter(unit)
        os.execv(command[0], command)  # noqa: S606 - no shell, by intent
    file, writable, *command = arguments
    unit = Unit(Path(file))
    read_only(writable)
    kept = "".join(
        f",+{word.removeprefix('CAP_').lower()}" for word in unit.words("CapabilityBoundingSet")
    )
    inner = [sys.executable, __file__, INNER, file, *command]
    options = [f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs"]
    os.execvp("setpriv", ["setpriv", *options, "--", *inner])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
