"""Drop all capabilities except those that the node needs, with no way to regain them.

``pe run`` drops them before it reads a line of its configuration, even when root starts it by
hand; the systemd unit has the same list, and a test compares the two (security requirement MGMT-7).
"""

from __future__ import annotations

import ctypes
import enum
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path


class Capability(enum.IntEnum):
    """Name the capability numbers of linux/capability.h."""

    KILL = 5
    """Ends its BGP processes, which are another user's."""
    SETGID = 6
    """Starts them as that user and group,"""
    SETUID = 7
    SETPCAP = 8
    """without any capability"""
    NET_BIND_SERVICE = 10
    """but the one for port 179, which only who has it can hand on."""
    NET_ADMIN = 12
    """Links, routes, labels, nftables, connections, TCP MD5 keys, settings below /proc/sys/net."""


NEEDED = frozenset(Capability)
DAC_READ_SEARCH = 2
"""Kept besides where the node is installed in a place that others may not enter, such as root's
home: its BGP processes are started from there as another user. ``/opt/bulkhead`` is none."""

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_VERSION_3 = 0x20080522
_HEAD = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")
"""Effective, permitted, inheritable: capabilities 0 to 31, then 32 to 63."""

_libc = ctypes.CDLL(None, use_errno=True)


def needed(program: Path = Path(sys.executable)) -> frozenset[int]:
    """Return the numbers of the capabilities that a node needs which runs ``program``."""
    return frozenset(NEEDED) if others_reach(program) else NEEDED | {DAC_READ_SEARCH}


def others_reach(program: Path) -> bool:
    """Return True if every user may enter the folders of a program, links followed."""
    folders = {*program.absolute().parents, *program.resolve().parents}
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
    except PermissionError:
        return False  # we may not ourselves


def drop() -> frozenset[int]:
    """Keep what is ``needed`` of what this process has; return what it keeps.

    For the calling thread and what it starts, so call it before there is another thread. Files
    are from here on read and written by the rights of their owner and mode: root's own power to
    overlook them is among what is given up. Raises OSError.
    """
    wanted = needed()
    effective, permitted = _held()
    kept = permitted & mask(wanted)
    if effective & mask({Capability.SETPCAP}):
        number = 0
        while _prctl(_PR_CAPBSET_READ, number, check=False) >= 0:
            if number not in wanted:
                _prctl(_PR_CAPBSET_DROP, number)
            number += 1
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set(kept)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return frozenset(number for number in wanted if kept >> number & 1)


def mask(numbers: Iterable[int]) -> int:
    """Return capabilities as ``/proc/PID/status`` prints them."""
    return sum(1 << number for number in numbers)


def _held() -> tuple[int, int]:
    sets = ctypes.create_string_buffer(_SETS.size)
    _call("capget", sets)
    words = _SETS.unpack(sets.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32


def _set(kept: int) -> None:
    low, high = kept & 0xFFFFFFFF, kept >> 32
    # Inheritable stays empty: a child that root starts gets what the bounding set leaves.
    _call("capset", ctypes.create_string_buffer(_SETS.pack(low, low, 0, high, high, 0)))


def _call(name: str, sets: ctypes.Array[ctypes.c_char]) -> None:
    head = ctypes.create_string_buffer(_HEAD.pack(_VERSION_3, 0))
    if getattr(_libc, name)(head, sets):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _prctl(option: int, argument: int, *, check: bool = True) -> int:
    word = ctypes.c_ulong
    result = int(_libc.prctl(option, word(argument), word(0), word(0), word(0)))
    if result < 0 and check:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    return result
