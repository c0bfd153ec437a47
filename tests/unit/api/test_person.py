"""Who runs as root: the kernel's login uid, and what sudo leaves in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.api.access.person import person_of


def process(proc: Path, login: str, environ: str = "") -> Path:
    folder = proc / "7"
    folder.mkdir()
    (folder / "loginuid").write_text(login)
    (folder / "environ").write_bytes(environ.encode())
    return proc


@pytest.mark.parametrize(
    ("login", "environ", "uid", "person"),
    [
        ("1000", "", 0, "loginuid 1000"),
        ("1000", "A=1\0SUDO_USER=alice\0B=2\0", 0, "loginuid 1000, sudo alice"),
        ("4294967295", "SUDO_USER=alice\0", 0, "sudo alice"),
        ("4294967295", "XSUDO_USER=alice\0", 0, ""),
        ("1000", "SUDO_USER=alice\0", 1000, ""),  # itself; and its environment is not read
        ("0", "", 0, ""),
        ("", "SUDO_USER=\0", 0, ""),
        ("4294967295", "SUDO_USER=al\nice\0", 0, ""),
        ("4294967295", "SUDO_USER=" + "a" * 100 + "\0", 0, "sudo " + "a" * 64),
    ],
)
def test_the_person(tmp_path: Path, login: str, environ: str, uid: int, person: str) -> None:
    assert person_of(7, uid, process(tmp_path, login, environ)) == person


def test_a_process_that_is_gone_has_no_person(tmp_path: Path) -> None:
    assert person_of(7, 0, tmp_path) == ""
