"""The store and the audit log on a file system of four megabytes, in a mount namespace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]


def test_on_a_full_file_system_nothing_is_kept_by_halves(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=4m,mode=700 tmpfs {tmp_path}"
    command = f"{mount} && {sys.executable} -m tests.unit.store.full_disk {tmp_path} disk"
    found = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("good\n", "")
