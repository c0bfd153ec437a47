"""The file underneath: SQLite, so opened that what was committed survives a power cut.

Write-ahead log and ``synchronous=FULL``: every commit is synced to the disk, and a crash at any
point leaves the state before it or after it (sqlite.org/wal.html, pragma synchronous).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from controlplane.store.schema import STEPS, VERSION

APPLICATION_ID = 0x42554C4B  # "BULK"
FOLDER_MODE, FILE_MODE = 0o700, 0o600


class StoreError(Exception):
    """The store cannot be used; the text says what to do about it."""


class StoreDamagedError(StoreError):
    """The file is not what was written."""


class Database:
    """One open file, held by one process. StoreError if it cannot be had."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise StoreError(
                f"{path}: {error.strerror}; give the node a folder it may write"
            ) from error
        try:
            self._connection = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        # In autocommit mode: a transaction begins where ``transaction`` says and not before.
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            self.path.chmod(FILE_MODE)
            _prepare(connection)
            _check(connection, self.path)
            _migrate(connection, self.path)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _explain(error, self.path) from error
        except StoreError:
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when the block is left. StoreError if that failed."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.path) from error

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The answer to a query without parameters."""
        try:
            with closing(self._connection.execute(query)) as cursor:
                return cursor.fetchall()
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.path) from error

    def close(self) -> None:
        """Give the file up."""
        self._connection.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """A lock that ends with the process: two nodes on one file would give a label out twice."""
    descriptor = os.open(
        path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another process; stop that one first") from None
    return descriptor


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version and application != APPLICATION_ID:
        raise StoreDamagedError(f"{path} is a database of something else; {_cure(path)}")
    if version > VERSION:
        raise StoreError(
            f"{path} has version {version}, this program knows {VERSION}; run the newer program"
        )
    complaints = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    if complaints != ["ok"]:
        raise StoreDamagedError(f"{path} is damaged ({complaints[0]}); {_cure(path)}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, step in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step}; PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {number}; COMMIT;"
        )
    if version < VERSION:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The name of a new file is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: sqlite3.DatabaseError, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamagedError(f"{path} is damaged ({error}); {_cure(path)}")
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"{path}: the disk is full; make room")
    return StoreError(f"{path}: {error}")


def _cure(path: Path) -> str:
    return (
        f"restore it from a copy, or move {path.name}* away: labels are then given out anew, so"
        " wait until the peers have dropped the old ones"
    )
