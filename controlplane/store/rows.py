"""Rows of the store's tables to value types and back."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

from controlplane.model.attachment import Attachment, MembershipChange
from controlplane.model.observed import Baseline, Flow
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Entry, KeptRevision, Signature, State, StoredRevision
from controlplane.model.workload import Packet, Workload

Row = tuple[Any, ...]
"""A row of a STRICT table: each column has its declared type."""


def attachment_of(body: str) -> Attachment:
    """Read a workload."""
    held = json.loads(body)
    addresses = tuple(map(parse_prefix, held["addresses"]))
    workload = Workload(held["name"], held["vrf"], held["port"], addresses, held["tags"])
    return Attachment(
        workload, held["generation"], held["since"], held["moves"], held["configured"]
    )


def attachment_body(attachment: Attachment) -> str:
    """Write a workload."""
    workload = attachment.workload
    return json.dumps(
        {
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
    )


def change_row(change: MembershipChange) -> Row:
    """Write a line of history: workload, change, before, after, who, at."""
    return (change.workload, change.change, change.before, change.after, change.who, change.when)


def revision_of(row: Row) -> KeptRevision:
    """Read digest, state, document; the document stays text."""
    digest, state, document = row
    return KeptRevision(digest, State(state), document)


def revision_row(revision: StoredRevision) -> Row:
    """Write digest, state, document."""
    return (revision.digest, revision.state.value, revision.document)


def entry_of(row: Row) -> Entry:
    """Read move, before, after, who, at, why."""
    move, before, after, *signed = row
    return Entry(move, before, after, Signature(*signed))


def entry_row(entry: Entry) -> Row:
    """Write move, before, after, who, at, why."""
    signed = entry.signed
    return (entry.move, entry.before, entry.after, signed.who, signed.when, signed.why)


def baseline_of(row: Row) -> Baseline:
    """Read name, since, until, who, lost, flows."""
    name, since, until, who, lost, flows = row
    return Baseline(name, since, until, who, lost, tuple(map(_flow, json.loads(flows))))


def baseline_row(it: Baseline) -> Row:
    """Write name, since, until, who, lost, flows."""
    flows = json.dumps([_flow_row(flow) for flow in it.flows])
    return (it.name, it.since, it.until, it.who, it.lost, flows)


def _flow_row(flow: Flow) -> list[object]:
    packet = flow.packet
    point = [packet.protocol, packet.dport, packet.icmp_type, packet.sport]
    seen = [flow.hits, flow.first, flow.last, flow.allowed]
    return [flow.zone, str(flow.source), str(flow.destination), *point, *seen]


def _flow(row: list[Any]) -> Flow:
    zone, source, destination, protocol, dport, kind, sport, *seen = row
    src, dst = ip_address(source), ip_address(destination)
    return Flow(zone, src, dst, Packet(src.version, protocol, dport, kind, sport), *seen)
