"""Open one SQLite file so that a committed transaction survives a power cut.

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
from typing import Any

from controlplane.store.migration import APPLICATION_ID, FILE_MODE, migrate
from controlplane.store.protocol import StoreDamagedError, StoreError
from controlplane.store.schema import VERSION

FOLDER_MODE = 0o700
_REFUSED = (sqlite3.Error, OverflowError, UnicodeError)
"""What SQLite and its binding raise for a statement or a value that they do not take."""


class Database:
    """Hold one open file for one process. StoreError if it cannot be opened."""

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
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error
        try:
            # Checked before anything is written: a newer or foreign file stays as it is.
            _check(connection, self.path)
            self.path.chmod(FILE_MODE)
            _prepare(connection)
            migrate(connection, self.path)
        except (sqlite3.Error, OSError) as error:
            connection.close()
            raise _explain(error, self.path) from error
        except StoreError:
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the block's statements to the disk, or none of them.

        Raises StoreError where SQLite refuses a statement or the commit; the file can be used
        afterwards.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                # SQLite rolls back by itself on a full disk, but not after a failed COMMIT: a
                # transaction left open made every later change fail.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except _REFUSED as error:
            raise _explain(error, self.path) from error

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query without parameters."""
        try:
            with closing(self._connection.execute(query)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error

    def damaged(self, problem: str) -> StoreDamagedError:
        """Return the error for content that is not what was written."""
        return StoreDamagedError(f"{self.path} is damaged ({problem}); {_cure(self.path)}")

    def close(self) -> None:
        """Close the file and release its lock."""
        self._connection.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """Return a lock that ends with the process: two nodes on one file would give a label out
    twice."""
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
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (version or tables) and application != APPLICATION_ID:
        raise StoreDamagedError(f"{path} is a database of something else; {_cure(path)}")
    if version > VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this program knows {VERSION}: run the newer"
            f" program, or restore the copy {path.name}.version-{VERSION} from before the upgrade"
        )
    complaints = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    if complaints != ["ok"]:
        raise StoreDamagedError(f"{path} is damaged ({complaints[0]}); {_cure(path)}")


def _explain(error: Exception, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamagedError(f"{path} is damaged ({error}); {_cure(path)}")
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"{path}: the disk is full; make room")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StoreError(f"{path} cannot be written ({error}); check the disk and its mount")
    return StoreError(f"{path}: {error}")


def _cure(path: Path) -> str:
    return (
        f"restore it from a copy, or move {path.name}* away: labels are then assigned anew, so"
        " wait until the peers have dropped the old ones"
    )
