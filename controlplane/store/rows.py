"""Rows of the store's tables to value types and back."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import msgspec

from controlplane.model.attachment import Attachment, MembershipChange
from controlplane.model.observed import Baseline, Flow
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Entry, KeptRevision, Signature, State, StoredRevision
from controlplane.model.workload import Packet, Workload

Row = tuple[Any, ...]
"""A row of a STRICT table: each column has its declared type."""


class _Body(msgspec.Struct, frozen=True):
    """A workload as ``attachment_body`` writes it."""

    name: str
    vrf: str
    port: str
    addresses: list[str]
    tags: dict[str, str]
    generation: int
    since: float
    moves: int
    configured: bool


_FlowRow = tuple[str, str, str, int, int, int, int, int, float, float, bool]

# Read with their types: what was damaged is found here, and not by the part that uses it.
_read_body = msgspec.json.Decoder(_Body).decode
_read_flows = msgspec.json.Decoder(list[_FlowRow]).decode


def attachment_of(body: str) -> Attachment:
    """Read a workload."""
    held = _read_body(body)
    addresses = tuple(map(parse_prefix, held.addresses))
    workload = Workload(held.name, held.vrf, held.port, addresses, held.tags)
    return Attachment(workload, held.generation, held.since, held.moves, held.configured)


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
    bytes.fromhex(digest)
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
    return Baseline(name, since, until, who, lost, tuple(map(_flow, _read_flows(flows))))


def baseline_row(it: Baseline) -> Row:
    """Write name, since, until, who, lost, flows."""
    flows = json.dumps([_flow_row(flow) for flow in it.flows])
    return (it.name, it.since, it.until, it.who, it.lost, flows)


def _flow_row(flow: Flow) -> list[object]:
    packet = flow.packet
    point = [packet.protocol, packet.dport, packet.icmp_type, packet.sport]
    seen = [flow.hits, flow.first, flow.last, flow.allowed]
    return [flow.zone, str(flow.source), str(flow.destination), *point, *seen]


def _flow(row: _FlowRow) -> Flow:
    zone, source, destination, protocol, dport, kind, sport, hits, first, last, allowed = row
    src, dst = ip_address(source), ip_address(destination)
    packet = Packet(src.version, protocol, dport, kind, sport)
    return Flow(zone, src, dst, packet, hits, first, last, allowed)
