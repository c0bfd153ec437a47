"""Bring a file of an older version to the schema of this program, after a copy of it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from controlplane.store.schema import STEPS, VERSION

APPLICATION_ID = 0x42554C4B  # "BULK"
FILE_MODE = 0o600


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Take the steps from the file's version to VERSION, each in one transaction.

    A file that has content is first copied to ``NAME.version-N``, so that the program of that
    version can go back to it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version:
        _copy(connection, path.with_name(f"{path.name}.version-{version}"))
    for number, step in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step}; PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {number}; COMMIT;"
        )
    _sync(path.parent)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """Write a whole copy to the disk under a name that it gets last."""
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
    with closing(sqlite3.connect(unfinished)) as copy:
        connection.backup(copy)
        # A copy in write-ahead mode would need two more files beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    _sync(unfinished)
    unfinished.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Sync a file, or a folder: the name of a new file is durable only once its folder is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
