"""Find the person behind a local process that runs as another user, as after ``sudo``."""

from __future__ import annotations

from pathlib import Path

_UNSET = 2**32 - 1
_LONGEST = 64


def person_of(pid: int, uid: int, proc: Path = Path("/proc")) -> str:
    """Return who logged in, for a process with user id ``uid``: ``loginuid 1000, sudo alice``.

    The login uid is the kernel's (``/proc/PID/loginuid``, set once by pam_loginuid). SUDO_USER is
    what root's process says of itself, so it is read of root's processes alone: reading the
    environment of another user's process could be made to block. "" where neither is known, or
    where it is the same user.
    """
    found = []
    login = _read(proc / str(pid) / "loginuid").strip()
    if login.isdigit() and int(login) not in (_UNSET, uid):
        found.append(f"loginuid {login}")
    if uid == 0 and (name := _sudo_user(proc / str(pid) / "environ")):
        found.append(f"sudo {name}")
    return ", ".join(found)


def _sudo_user(environ: Path) -> str:
    for setting in _read(environ).split("\0"):
        name, _, value = setting.partition("=")
        if name == "SUDO_USER" and value.isprintable():
            return value[:_LONGEST]
    return ""


def _read(file: Path) -> str:
    """Return a file's content, "" where it is not available: a process that has ended, hidepid."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
