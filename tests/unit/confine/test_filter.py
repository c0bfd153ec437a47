"""BGP-14: what a worker may not do fails with EPERM; each is made without the filter too."""

from __future__ import annotations

import errno
import functools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.confine import seccomp
from controlplane.confine.seccomp import (
    ALLOW,
    FAIL,
    GREATER,
    KILL_PROCESS,
    LOAD,
    NUMBER_AT,
    RETURN,
    Instruction,
    Match,
    install,
    program,
)
from controlplane.confine.system_calls import MACHINES, NEWEST, NUMBERS
from controlplane.speaker.worker import confinement
from tests.unit.confine import confined_call
from tests.unit.confine.confined_call import FORBIDDEN, NEEDED, OPEN

PID = 4711
IS_FREE = os.geteuid() == 0 and "Seccomp:\t0\n" in Path("/proc/self/status").read_text()
"""These tests have all rights and no filter of their own."""
EPERM, ENOSYS = FAIL | errno.EPERM, FAIL | errno.ENOSYS


@functools.cache
def made(how: str) -> dict[str, int]:
    """The errno of each call in a process of its own."""
    command = [sys.executable, confined_call.__file__, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_worker_may_not_do(name: str) -> None:
    assert made("confined")[name] == errno.EPERM
    if name in OPEN or IS_FREE:
        assert made("free")[name] != errno.EPERM, "control"


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_worker_needs(name: str) -> None:
    assert made("confined")[name] == 0


def test_a_call_that_is_newer_than_the_list_is_not_implemented() -> None:
    """A C library then goes its older way; EPERM it would take for the answer."""
    assert made("confined")["new"] == errno.ENOSYS


def run(code: list[Instruction], audit: int, number: int, *arguments: int) -> int:
    """Do what the kernel does with a filter and one call (net/core/filter.c)."""
    words = {NUMBER_AT: number, seccomp.ARCH_AT: audit}
    for at in range(6):
        value = arguments[at] if at < len(arguments) else 0
        words[seccomp.ARGUMENTS_AT + 8 * at] = value & 0xFFFFFFFF
        words[seccomp.ARGUMENTS_AT + 8 * at + 4] = value >> 32
    at = accumulator = 0
    while True:
        step = code[at]
        at += 1
        if step.code == RETURN:
            return step.value
        if step.code == LOAD:
            accumulator = words[step.value]
        elif step.code == seccomp.AND:
            accumulator &= step.value
        else:
            held = accumulator > step.value if step.code == GREATER else accumulator == step.value
            at += step.if_true if held else step.if_false


@pytest.mark.parametrize("name", MACHINES)
def test_the_program_of_each_machine(name: str) -> None:
    machine = MACHINES[name]
    code = program(confinement.rules(PID), machine)

    def call(named: str, *arguments: int) -> int:
        number = NUMBERS[named][machine.column]
        assert number is not None
        return run(code, machine.audit, number, *arguments)

    assert call("read", 3) == call("write") == ALLOW
    assert call("socket", 2, 1 | 0o2000000 | 0o4000, 6) == call("socket", 10, 1, 0) == ALLOW
    assert {call("socket", 2, 2), call("socket", 2, 1, 132), call("socket", 1, 1)} == {EPERM}
    assert call("setsockopt", 3, 6, 14) == ALLOW
    assert call("setsockopt", 3, 6, 31) == call("setsockopt", 3, 1, 14) == EPERM
    assert call("openat", 0, 0, os.O_CLOEXEC | os.O_DIRECTORY) == ALLOW
    assert {call("openat", 0, 0, f) for f in (1, 2, os.O_CREAT, os.O_TRUNC)} == {EPERM}
    assert call("kill", PID, 9) == call("tgkill", PID, PID, 6) == ALLOW
    assert {call("kill", 1), call("kill", -1 & 0xFFFFFFFF), call("tgkill", 1)} == {EPERM}
    assert call("mmap", 0, 0, 5) == call("mmap", 0, 0, 3) == ALLOW
    assert call("mmap", 0, 0, 7) == call("mprotect", 0, 0, 4) == EPERM
    assert call("prlimit64", 0, 7, 0) == call("prlimit64", PID, 7, 0) == ALLOW
    assert call("prlimit64", 0, 7, 1 << 40) == call("prlimit64", 1, 7, 0) == EPERM
    known = {numbers[machine.column] for numbers in NUMBERS.values()}
    unlisted = [n for n in range(NEWEST + 1) if n not in known]
    assert {run(code, machine.audit, n) for n in unlisted} == {EPERM}
    x32 = range(0x40000000, 0x40000000 + NEWEST)
    assert {run(code, machine.audit, n) for n in x32} == {ENOSYS}
    others = [each.audit for each in MACHINES.values() if each is not machine] + [0x40000003]
    assert {run(code, audit, 0) for audit in others} == {KILL_PROCESS}


def test_the_numbers_are_those_of_libseccomp() -> None:
    """Which has them from the kernel's tables."""
    import ctypes

    library = ctypes.CDLL("libseccomp.so.2")
    for name, numbers in NUMBERS.items():
        for machine in MACHINES.values():
            found = library.seccomp_syscall_resolve_name_arch(
                ctypes.c_uint32(machine.audit), name.encode()
            )
            assert numbers[machine.column] == (found if found >= 0 else None), name


def test_every_rule_has_its_number() -> None:
    assert confinement.rules(PID).keys() == NUMBERS.keys()


def test_a_machine_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, and the reason says so."""
    there = os.uname()
    fields = [*list(there)[:4], "riscv64"]
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(fields))
    assert install({}) == "no list of system calls for riscv64, 64 bits"


def test_a_kernel_that_takes_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 2 with a program that jumps out of itself is EINVAL, as it is without CONFIG_SECCOMP."""
    monkeypatch.setattr(seccomp, "program", lambda *_: [Instruction(seccomp.EQUAL, 0, 9, 9)])
    monkeypatch.setattr(seccomp, "PR_SET_NO_NEW_PRIVS", 39)  # PR_GET_NO_NEW_PRIVS, for this test
    answered = install({"read": ((Match(0, 1),),)})
    assert answered == "the kernel refuses a filter of system calls: Invalid argument"


def test_the_limits_of_a_worker() -> None:
    script = (
        "import resource; from controlplane.speaker.worker.confinement import confine; confine(3);"
        "print([resource.getrlimit(k) for k in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE,"
        " resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    files = min(64 + 4 * (2 * 3 + 250), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert done.stdout.strip() == str([(0, 0), (0, 0), (0, 0), (files, files)])
