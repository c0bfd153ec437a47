"""Define the tables of the store as steps from one version to the next; a step never changes.

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
    """
    CREATE TABLE workload (
        name TEXT PRIMARY KEY,
        body TEXT NOT NULL     -- JSON
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE workload_change (
        number   INTEGER PRIMARY KEY,
        workload TEXT NOT NULL,
        change   TEXT NOT NULL,
        before   TEXT NOT NULL,
        after    TEXT NOT NULL,
        who      TEXT NOT NULL,
        at       REAL NOT NULL
    ) STRICT;
    CREATE TABLE resting (
        vrf    TEXT NOT NULL,
        prefix TEXT NOT NULL,
        until  REAL NOT NULL,
        PRIMARY KEY (vrf, prefix)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revision (
        digest   TEXT PRIMARY KEY,
        number   INTEGER NOT NULL UNIQUE,  -- in the order in which they came
        state    TEXT NOT NULL CHECK (state IN ('draft', 'staged', 'enforced', 'superseded')),
        document TEXT NOT NULL             -- canonical JSON
    ) STRICT, WITHOUT ROWID;
    -- The file refuses a second enforced or staged revision, no matter which program writes it.
    CREATE UNIQUE INDEX revision_enforced ON revision (state) WHERE state = 'enforced';
    CREATE UNIQUE INDEX revision_staged ON revision (state) WHERE state = 'staged';
    CREATE TABLE policy_move (
        number INTEGER PRIMARY KEY,
        move   TEXT NOT NULL,
        before TEXT NOT NULL,
        after  TEXT NOT NULL,
        who    TEXT NOT NULL,
        at     REAL NOT NULL,
        why    TEXT NOT NULL
    ) STRICT;
    CREATE TABLE baseline (
        name  TEXT PRIMARY KEY,
        since REAL NOT NULL,
        until REAL NOT NULL,
        who   TEXT NOT NULL,
        lost  INTEGER NOT NULL,
        flows TEXT NOT NULL    -- JSON
    ) STRICT, WITHOUT ROWID;
    """,
    # The release of a label was Unix time, which NTP steps: of unknown age ('') on the boot clock,
    # so that its hold-down begins anew.
    """
    CREATE TABLE label_hold_down (
        label    INTEGER PRIMARY KEY CHECK (label BETWEEN 16 AND 1048575),
        boot     TEXT NOT NULL,  -- boot id
        released REAL NOT NULL,  -- seconds since that boot
        vrf      TEXT NOT NULL   -- the VRF that released it
    ) STRICT;
    INSERT INTO label_hold_down SELECT label, '', 0, vrf FROM label_resting;
    DROP TABLE label_resting;
    """,
    # An address in hold-down had its end in Unix time: now the moment of its loss on the boot
    # clock, of unknown age ('') where it comes from version 3.
    """
    CREATE TABLE address_hold_down (
        vrf    TEXT NOT NULL,
        prefix TEXT NOT NULL,
        boot   TEXT NOT NULL,  -- boot id
        lost   REAL NOT NULL,  -- seconds since that boot
        PRIMARY KEY (vrf, prefix)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO address_hold_down SELECT vrf, prefix, '', 0 FROM resting;
    DROP TABLE resting;
    -- JSON list of the group ids: known while the document is not parsed, or cannot be.
    ALTER TABLE revision ADD COLUMN groups TEXT;
    CREATE INDEX workload_change_by_workload ON workload_change (workload, number);
    """,
    # Group ids that a policy does not name mean nothing: nobody asks which others there are.
    """
    ALTER TABLE revision DROP COLUMN groups;
    """,
)

VERSION = len(STEPS)
