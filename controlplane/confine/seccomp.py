"""A filter of system calls: what is not listed fails (seccomp(2), mode 2).

The program is classic BPF over ``struct seccomp_data`` (linux/seccomp.h): the number, AUDIT_ARCH,
the address of the instruction, six arguments of 64 bits.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.confine.system_calls import MACHINES, NEWEST, NUMBERS, Machine

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
ALLOW, FAIL, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, AND, EQUAL, GREATER, RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JGT|BPF_K,
BPF_RET|BPF_K."""
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
WHOLE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Match:
    """An argument (from 0 on) whose bits in ``mask`` are ``value``.

    Its lower 32 bits: the kernel reads no more of an int. ``upper``: the other ones, of a pointer.
    """

    argument: int
    value: int
    mask: int = WHOLE
    upper: bool = False


Arguments = tuple[Match, ...]
"""All of them have to hold."""
ANY: tuple[Arguments, ...] = ((),)
Rules = Mapping[str, tuple[Arguments, ...]]
"""The calls that are allowed, by name, each with the arguments that it may have."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``struct sock_filter``; jumps are relative to the next instruction."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0


def program(rules: Rules, machine: Machine) -> list[Instruction]:
    """Return the filter: listed calls pass, those the list's makers did not know fail with ENOSYS,
    all others with EPERM.

    Another AUDIT_ARCH ends the process: its numbers mean other calls. Those of x32 are x86_64's
    with a bit more, so none is in the list.
    """
    made = [
        Instruction(LOAD, ARCH_AT),
        Instruction(EQUAL, machine.audit, 1, 0),
        Instruction(RETURN, KILL_PROCESS),
        Instruction(LOAD, NUMBER_AT),
    ]
    for name, alternatives in rules.items():
        number = NUMBERS[name][machine.column]
        if number is None:
            continue
        body = _arguments(alternatives)
        made += [Instruction(EQUAL, number, 0, len(body)), *body]
    return [
        *made,
        Instruction(GREATER, NEWEST, 1, 0),
        Instruction(RETURN, FAIL | errno.EPERM),
        Instruction(RETURN, FAIL | errno.ENOSYS),
    ]


def _arguments(alternatives: tuple[Arguments, ...]) -> list[Instruction]:
    """Return instructions that let a call pass with one of these, and end it with EPERM if not."""
    made: list[Instruction] = []
    for matches in alternatives:
        steps = [step for match in matches for step in _match(match)]
        # A comparison that fails goes on behind this alternative's last instruction.
        made += [
            step if step.code != EQUAL else Instruction(EQUAL, step.value, 0, len(steps) - at)
            for at, step in enumerate(steps)
        ]
        made.append(Instruction(RETURN, ALLOW))
    return made if () in alternatives else [*made, Instruction(RETURN, FAIL | errno.EPERM)]


def _match(match: Match) -> Iterable[Instruction]:
    yield Instruction(LOAD, ARGUMENTS_AT + 8 * match.argument + 4 * match.upper)
    if match.mask != WHOLE:
        yield Instruction(AND, match.mask)
    yield Instruction(EQUAL, match.value)


class _SockFilter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32),
    )  # fmt: skip


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_SockFilter)))


def install(rules: Rules) -> str:
    """Allow this thread, for good, these calls alone; "" or why that cannot be done here."""
    name = os.uname().machine
    machine = MACHINES.get(name)
    if machine is None or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        return f"no list of system calls for {name}, {sys.maxsize.bit_length() + 1} bits"
    made = [_SockFilter(i.code, i.if_true, i.if_false, i.value) for i in program(rules, machine)]
    array = (_SockFilter * len(made))(*made)
    whole = _SockFprog(len(made), array)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), None, None, None),
        (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(whole), None, None),
    ):
        if prctl(*arguments):
            return f"the kernel refuses a filter of system calls: {os.strerror(ctypes.get_errno())}"
    return ""
