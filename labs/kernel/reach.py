"""Whether a user without rights can get to the project: a node's BGP speakers are such users, and
home directories are closed to other users (0700 on Debian, 0750 on Ubuntu)."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def closed_folders() -> list[Path]:
    """The folders on the way to the interpreter and the project that others may not enter."""
    ends = (Path(sys.executable), Path(os.path.realpath(sys.executable)), Path(__file__))
    found = {folder for end in ends for folder in end.absolute().parents}
    return sorted(folder for folder in found if not folder.stat().st_mode & 0o001)
