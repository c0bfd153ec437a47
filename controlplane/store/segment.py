"""Microsegmentation in the store: workloads, revisions and who moved them, baselines."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import Packet, Workload
from controlplane.policy.endpoints.attachment import Attachment, MembershipChange
from controlplane.policy.endpoints.registry import EndpointKey
from controlplane.policy.insight.observed import Flow
from controlplane.policy.language.canonical import canonical_bytes
from controlplane.policy.language.document import policy_from_value
from controlplane.policy.language.revision import Entry, Ledger, Revision, Signature, State
from controlplane.store.database import Database

_ORDER = (State.SUPERSEDED, State.DRAFT, State.STAGED, State.ENFORCED)
"""Who leaves a state is written before who enters it: at no moment are there two in one."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A span of time whose flows somebody declared good. `lost`: flows of it that nobody saw."""

    name: str
    since: float
    until: float
    who: str
    lost: int
    flows: tuple[Flow, ...] = ()


@dataclass(slots=True)
class Kept:
    """What the store had."""

    attachments: dict[str, Attachment] = field(default_factory=dict)
    resting: dict[EndpointKey, float] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    history: list[MembershipChange] = field(default_factory=list)
    baselines: dict[str, Baseline] = field(default_factory=dict)


class SegmentStore:
    """Every `save` and `forget` is one transaction, on the disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Kept:
        """All that was saved."""
        rows = self._database.rows
        bodies = rows("SELECT body FROM workload ORDER BY name")
        attachments = (_attachment(json.loads(str(body))) for (body,) in bodies)
        return Kept(
            {each.workload.name: each for each in attachments},
            {
                (str(vrf), parse_prefix(str(prefix))): float(str(until))
                for vrf, prefix, until in rows("SELECT vrf, prefix, until FROM resting")
            },
            self._ledger(),
            [
                MembershipChange(
                    str(name), str(change), str(before), str(after), str(who), float(str(at))
                )
                for name, change, before, after, who, at in rows(
                    "SELECT workload, change, before, after, who, at FROM workload_change"
                    " ORDER BY number"
                )
            ],
            {each.name: each for each in self._baselines()},
        )

    def _ledger(self) -> Ledger:
        rows = self._database.rows
        revisions = {
            str(digest): Revision(
                str(digest), policy_from_value(json.loads(str(document))), State(str(state))
            )
            for digest, state, document in rows(
                "SELECT digest, state, document FROM revision ORDER BY number"
            )
        }
        moves = rows("SELECT move, before, after, who, at, why FROM policy_move ORDER BY number")
        trail = tuple(
            Entry(str(move), str(before), str(after), Signature(str(who), float(str(at)), str(why)))
            for move, before, after, who, at, why in moves
        )
        return Ledger(revisions, trail)

    def _baselines(self) -> Iterable[Baseline]:
        for name, since, until, who, lost, flows in self._database.rows(
            "SELECT name, since, until, who, lost, flows FROM baseline ORDER BY until"
        ):
            held = tuple(_flow(row) for row in json.loads(str(flows)))
            span = (float(str(since)), float(str(until)))
            yield Baseline(str(name), *span, str(who), int(str(lost)), held)

    def save_attachment(self, attachment: Attachment, change: MembershipChange | None) -> None:
        """A workload is there; its addresses rest no more."""
        workload = attachment.workload
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO workload VALUES (?, ?)",
                (workload.name, json.dumps(_body(attachment))),
            )
            connection.executemany(
                "DELETE FROM resting WHERE vrf = ? AND prefix = ?",
                [(workload.vrf, str(prefix)) for prefix in workload.addresses],
            )
            _note(connection, change)

    def forget_attachment(
        self, name: str, change: MembershipChange, resting: Mapping[EndpointKey, float], now: float
    ) -> None:
        """A workload is gone, and these places rest; what has rested by `now` is forgotten."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM workload WHERE name = ?", (name,))
            connection.execute("DELETE FROM resting WHERE until <= ?", (now,))
            connection.executemany(
                "INSERT OR REPLACE INTO resting VALUES (?, ?, ?)",
                [(vrf, str(prefix), until) for (vrf, prefix), until in resting.items()],
            )
            _note(connection, change)

    def save_change(self, change: MembershipChange) -> None:
        """One more line of a workload's history."""
        with self._database.transaction() as connection:
            _note(connection, change)

    def save_ledger(self, before: Ledger, after: Ledger) -> None:
        """Revisions that are new or moved, and the moves: all of it or nothing."""
        changed = [r for d, r in after.revisions.items() if before.revisions.get(d) != r]
        changed.sort(key=lambda revision: _ORDER.index(revision.state))
        with self._database.transaction() as connection:
            for revision in changed:
                _save_revision(connection, revision)
            connection.executemany(
                "INSERT INTO policy_move (move, before, after, who, at, why)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [_move(entry) for entry in after.trail[len(before.trail) :]],
            )

    def save_baseline(self, baseline: Baseline) -> None:
        """A baseline, under a name that has none yet."""
        flows = json.dumps([_flow_row(flow) for flow in baseline.flows])
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO baseline VALUES (?, ?, ?, ?, ?, ?)",
                (
                    baseline.name,
                    baseline.since,
                    baseline.until,
                    baseline.who,
                    baseline.lost,
                    flows,
                ),
            )


def _save_revision(connection: sqlite3.Connection, revision: Revision) -> None:
    document = canonical_bytes(revision.policy).decode()
    connection.execute(
        "INSERT INTO revision SELECT ?, coalesce(max(number), 0) + 1, ?, ? FROM revision WHERE true"
        " ON CONFLICT (digest) DO UPDATE SET state = excluded.state",
        (revision.digest, revision.state.value, document),
    )


def _move(entry: Entry) -> tuple[str | float, ...]:
    signed = entry.signed
    return (entry.move, entry.before, entry.after, signed.who, signed.when, signed.why)


def _note(connection: sqlite3.Connection, change: MembershipChange | None) -> None:
    if change is not None:
        connection.execute(
            "INSERT INTO workload_change (workload, change, before, after, who, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                change.workload,
                change.change,
                change.before,
                change.after,
                change.who,
                change.when,
            ),
        )


def _body(attachment: Attachment) -> dict[str, object]:
    workload = attachment.workload
    return {
        "name": workload.name,
        "vrf": workload.vrf,
        "port": workload.port,
        "addresses": [str(prefix) for prefix in workload.addresses],
        "tags": dict(workload.tags),
        "generation": attachment.generation,
        "since": attachment.since,
        "moves": attachment.moves,
        "configured": attachment.configured,
    }


def _attachment(body: dict[str, object]) -> Attachment:
    addresses, tags = body["addresses"], body["tags"]
    assert isinstance(addresses, list)  # noqa: S101 - we wrote it
    assert isinstance(tags, dict)  # noqa: S101
    prefixes = tuple(parse_prefix(text) for text in addresses)
    workload = Workload(str(body["name"]), str(body["vrf"]), str(body["port"]), prefixes, tags)
    return Attachment(
        workload,
        int(str(body["generation"])),
        float(str(body["since"])),
        int(str(body["moves"])),
        bool(body["configured"]),
    )


def _flow_row(flow: Flow) -> list[object]:
    packet = flow.packet
    point = [packet.protocol, packet.dport, packet.icmp_type, packet.sport]
    seen = [flow.hits, flow.first, flow.last, flow.allowed]
    return [flow.zone, str(flow.source), str(flow.destination), *point, *seen]


def _flow(row: list[object]) -> Flow:
    zone, source, destination, protocol, dport, kind, sport, hits, first, last, allowed = row
    src, dst = ip_address(str(source)), ip_address(str(destination))
    packet = Packet(src.version, *(int(str(n)) for n in (protocol, dport, kind, sport)))
    seen = (int(str(hits)), float(str(first)), float(str(last)), bool(allowed))
    return Flow(str(zone), src, dst, packet, *seen)
