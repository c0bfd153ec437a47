"""The tables of the store, as steps: each leads from one version to the next, and never changes.

``user_version`` in the file's header says how many steps it has taken.
"""

from __future__ import annotations

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE label_held (
        vrf   TEXT PRIMARY KEY,
        label INTEGER NOT NULL UNIQUE CHECK (label BETWEEN 16 AND 1048575)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE label_resting (
        label INTEGER PRIMARY KEY CHECK (label BETWEEN 16 AND 1048575),
        freed REAL NOT NULL,   -- Unix time
        vrf   TEXT NOT NULL    -- who had it
    ) STRICT;
    """,
)

VERSION = len(STEPS)
