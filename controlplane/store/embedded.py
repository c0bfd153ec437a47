"""``Store`` in SQLite: one file in the node's state folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from controlplane.model.attachment import Attachment, EndpointKey, MembershipChange
from controlplane.model.effects import SaveLabels
from controlplane.model.history import LINES, LINES_OF_ONE
from controlplane.model.instant import BootTime
from controlplane.model.label import LabelLedger
from controlplane.model.observed import MOST_BASELINES, Baseline
from controlplane.model.prefix import parse_prefix
from controlplane.model.records import PolicyRecords
from controlplane.model.revision import Entry, RevisionLedger, State
from controlplane.store import rows
from controlplane.store.database import Database

FILE = "state.db"

_ORDER = (State.SUPERSEDED, State.DRAFT, State.STAGED, State.ENFORCED)
"""A revision that leaves a state is written before the one that enters it: the file refuses two
in one."""


def open_store(folder: Path) -> EmbeddedStore:
    """Open the node's store in its state folder, or create it. StoreError names the cure."""
    return EmbeddedStore(Database(folder / FILE))


class EmbeddedStore:
    """Implement ``Store``; each change is one transaction, synced to the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- labels ---------------------------------------------------------------------------------

    def load_labels(self) -> LabelLedger:
        """Return the label ledger that was saved last; an empty one if there is none."""
        held = self._database.rows("SELECT vrf, label FROM label_held")
        held_down = self._database.rows("SELECT label, boot, released, vrf FROM label_hold_down")
        return LabelLedger(
            dict(held),
            {label: (BootTime(boot, released), vrf) for label, boot, released, vrf in held_down},
        )

    def save_labels(self, labels: SaveLabels) -> None:
        """Make this the label ledger."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM label_held")
            connection.execute("DELETE FROM label_hold_down")
            connection.executemany("INSERT INTO label_held VALUES (?, ?)", labels.held.items())
            connection.executemany(
                "INSERT INTO label_hold_down VALUES (?, ?, ?, ?)",
                [
                    (label, released.boot, released.seconds, vrf)
                    for label, (released, vrf) in labels.held_down.items()
                ],
            )

    # -- microsegmentation ----------------------------------------------------------------------

    def load_policy(self) -> PolicyRecords:
        """Return workloads, hold-downs, revisions, history and baselines."""
        try:
            return self._policy()
        except (ValueError, LookupError, TypeError, msgspec.MsgspecError) as error:
            raise self._database.damaged(f"a row does not read: {error!r}") from error

    def _policy(self) -> PolicyRecords:
        query = self._database.rows
        attachments = (
            rows.attachment_of(body) for (body,) in query("SELECT body FROM workload ORDER BY name")
        )
        return PolicyRecords(
            {each.workload.name: each for each in attachments},
            {
                (vrf, parse_prefix(prefix)): BootTime(boot, lost)
                for vrf, prefix, boot, lost in query(
                    "SELECT vrf, prefix, boot, lost FROM address_hold_down"
                )
            },
            tuple(
                map(
                    rows.revision_of,
                    query("SELECT digest, state, document FROM revision ORDER BY number"),
                )
            ),
            tuple(
                map(
                    rows.entry_of,
                    query(
                        "SELECT move, before, after, who, at, why FROM policy_move ORDER BY number"
                    ),
                )
            ),
            [
                MembershipChange(*row)
                for row in query(
                    "SELECT workload, change, before, after, who, at FROM workload_change"
                    " ORDER BY number"
                )
            ],
            {
                each.name: each
                for each in map(
                    rows.baseline_of,
                    query(
                        "SELECT name, since, until, who, lost, flows FROM baseline ORDER BY until"
                    ),
                )
            },
        )

    def save_attachment(self, attachment: Attachment, change: MembershipChange | None) -> None:
        """Save a workload, end the hold-down of its addresses, add the line to its history."""
        workload = attachment.workload
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO workload VALUES (?, ?)",
                (workload.name, rows.attachment_body(attachment)),
            )
            connection.executemany(
                "DELETE FROM address_hold_down WHERE vrf = ? AND prefix = ?",
                [(workload.vrf, str(prefix)) for prefix in workload.addresses],
            )
            if change is not None:
                _note(connection, [change])

    def forget_attachment(
        self,
        name: str,
        change: MembershipChange,
        lost: Collection[EndpointKey],
        now: BootTime,
        hold_down: float,
    ) -> None:
        """Remove a workload and hold these addresses down from `now` on."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM workload WHERE name = ?", (name,))
            connection.execute(
                "DELETE FROM address_hold_down"
                " WHERE boot != '' AND (boot = ?1 AND lost <= ?2 - ?3 OR boot != ?1 AND ?2 >= ?3)",
                (now.boot, now.seconds, hold_down),
            )
            # Of unknown age: measured from here on, else it would be held down at every start.
            connection.execute(
                "UPDATE address_hold_down SET boot = ?, lost = ? WHERE boot = ''",
                (now.boot, now.seconds),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO address_hold_down VALUES (?, ?, ?, ?)",
                [(vrf, str(prefix), now.boot, now.seconds) for vrf, prefix in lost],
            )
            _note(connection, [change])

    def save_changes(self, changes: Sequence[MembershipChange]) -> None:
        """Add lines to the history."""
        with self._database.transaction() as connection:
            _note(connection, changes)

    def save_ledger(self, before: RevisionLedger, after: RevisionLedger) -> None:
        """Save what differs: revisions that are new, moved or pruned, and new trail entries."""
        changed = [r for d, r in after.revisions.items() if before.revisions.get(d) != r]
        changed.sort(key=lambda revision: _ORDER.index(revision.state))
        pruned = [(digest,) for digest in before.revisions if digest not in after.revisions]
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM revision WHERE digest = ?", pruned)
            connection.executemany(
                "DELETE FROM policy_move WHERE (move, before, after, who, at, why)"
                " = (?, ?, ?, ?, ?, ?)",
                map(rows.entry_row, set(before.trail).difference(after.trail)),
            )
            connection.executemany(
                "INSERT INTO revision (digest, number, state, document)"
                " SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM revision WHERE true"
                " ON CONFLICT (digest) DO UPDATE SET state = excluded.state",
                map(rows.revision_row, changed),
            )
            connection.executemany(
                "INSERT INTO policy_move (move, before, after, who, at, why)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                map(rows.entry_row, _added(before.trail, after.trail)),
            )

    def save_baseline(self, baseline: Baseline) -> None:
        """Save a baseline under a name that is not used yet."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO baseline VALUES (?, ?, ?, ?, ?, ?)", rows.baseline_row(baseline)
            )
            connection.execute(
                "DELETE FROM baseline WHERE name NOT IN"
                " (SELECT name FROM baseline ORDER BY until DESC, name DESC LIMIT ?)",
                (MOST_BASELINES,),
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _added(before: Sequence[Entry], after: Sequence[Entry]) -> Sequence[Entry]:
    """Return the entries behind the last one of `before`; the oldest ones may be pruned."""
    if not before:
        return after
    last = before[-1]
    behind = next((at for at in range(len(after), 0, -1) if after[at - 1] == last), 0)
    return after[behind:]


def _note(connection: sqlite3.Connection, changes: Sequence[MembershipChange]) -> None:
    """Add lines to the history and prune it as ``model.history`` does in memory."""
    connection.executemany(
        "INSERT INTO workload_change (workload, change, before, after, who, at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        map(rows.change_row, changes),
    )
    connection.executemany(
        "DELETE FROM workload_change WHERE workload = ?1 AND number <="
        " (SELECT number FROM workload_change WHERE workload = ?1"
        " ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        {(change.workload, LINES_OF_ONE) for change in changes},
    )
    connection.execute(
        "DELETE FROM workload_change WHERE number <="
        " (SELECT number FROM workload_change ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (LINES,),
    )
