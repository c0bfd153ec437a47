"""What the control plane wants done: one union, carried out by one executor (``pe.executor``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from controlplane.model.attachment import Attachment, EndpointKey, MembershipChange
from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.desired import Delta
from controlplane.model.flow import LiveFlow
from controlplane.model.instant import BootTime
from controlplane.model.intent import PeerIntent
from controlplane.model.observed import Baseline
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress
from controlplane.model.revision import RevisionLedger
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta


class Announce(msgspec.Struct, frozen=True):
    """Advertise routes that share attributes to a peer; the speaker packs them into UPDATEs."""

    peer: PeerId
    family: Family
    next_hop: IPAddress
    attributes: Attributes
    nlri: list[Nlri]


class Withdraw(msgspec.Struct, frozen=True):
    """Take routes back from a peer."""

    peer: PeerId
    family: Family
    nlri: list[Nlri]


class SendEndOfRib(msgspec.Struct, frozen=True):
    """All that we had at session start has been sent (RFC 4724)."""

    peer: PeerId
    family: Family


class RequestRefresh(msgspec.Struct, frozen=True):
    """Ask a peer for its routes of a family again (RFC 2918), as when an import RT was added."""

    peer: PeerId
    family: Family


class ResetSession(msgspec.Struct, frozen=True):
    """End a session with Cease and this subcode (RFC 4486); it comes back unless disabled."""

    peer: PeerId
    subcode: int
    reason: str


class ConfigureSpeakers(msgspec.Struct, frozen=True):
    """The sessions that should exist in some VRFs ("" is the core), all of each; one that is
    missing there is shut down, and the other VRFs stay as they are.

    ``restart_time`` is offered to every peer for graceful restart, in seconds; 0 for none. Where it
    changes, all VRFs with sessions are here.
    """

    peers: dict[str, tuple[PeerIntent, ...]]
    restart_time: int = 0


class SaveLabels(msgspec.Struct, frozen=True):
    """Make the label ledger durable before a label of it is used: VRF -> label, and label ->
    (moment of its release, former VRF)."""

    held: dict[str, int]
    held_down: dict[int, tuple[BootTime, str]]


class SaveAttachment(msgspec.Struct, frozen=True):
    """Save a workload, end the hold-down of its addresses, add the line to its history."""

    attachment: Attachment
    change: MembershipChange


class ForgetAttachment(msgspec.Struct, frozen=True):
    """Remove a workload, hold the addresses ``lost`` down from ``now`` on, add the line."""

    name: str
    change: MembershipChange
    lost: tuple[EndpointKey, ...]
    now: BootTime
    hold_down: float


class SaveHistory(msgspec.Struct, frozen=True):
    """Add lines to the history of workloads."""

    changes: tuple[MembershipChange, ...]


class SaveLedger(msgspec.Struct, frozen=True):
    """Save the revisions and trail entries of ``after`` that are not in ``before``."""

    before: RevisionLedger
    after: RevisionLedger


class SaveBaseline(msgspec.Struct, frozen=True):
    """Save a baseline under a name that is not used yet."""

    baseline: Baseline


class ExpectVerdicts(msgspec.Struct, frozen=True):
    """These VRFs are new and under policy: keep them closed until their tables are loaded."""

    vrfs: frozenset[str]


class SetZones(msgspec.Struct, frozen=True):
    """Have these VRFs (with their conntrack zones), and no others, under policy."""

    zones: Mapping[str, int]


class SetTables(msgspec.Struct, frozen=True):
    """Have the slot hold these tables, in one transaction; None empties it."""

    slot: Slot
    tables: Tables | None


class ChangeTables(msgspec.Struct, frozen=True):
    """Change a slot that holds the tables from which the delta was made."""

    slot: Slot
    delta: TablesDelta


class SetSourceBindings(msgspec.Struct, frozen=True):
    """Accept each of these addresses from its port only."""

    bindings: SourceBindings


class ChangeSourceBindings(msgspec.Struct, frozen=True):
    """Change the source bindings."""

    delta: TablesDelta


class ReadFlows(msgspec.Struct, frozen=True):
    """Read the established flows of a VRF; with ``ends``, those from or to one of them."""

    vrf: str
    ends: tuple[IPAddress, ...]


class EndFlows(msgspec.Struct, frozen=True):
    """End these established flows of a VRF."""

    vrf: str
    flows: tuple[LiveFlow, ...]


class PublishWorkload(msgspec.Struct, frozen=True):
    """Report a change to those who watch workloads: "attached", "changed" or "detached"."""

    change: str
    attachment: Attachment


class Answer(msgspec.Struct, frozen=True):
    """Resolve the ticket of a request: with its result, or with what refused it."""

    ticket: int
    result: object = None
    error: Exception | None = None


class LogEvent(msgspec.Struct, frozen=True):
    """A line for the log: ``event`` in snake_case, ``fields`` without secrets."""

    level: str
    event: str
    fields: dict[str, str | int]


Save: TypeAlias = (
    SaveLabels | SaveAttachment | ForgetAttachment | SaveHistory | SaveLedger | SaveBaseline
)
"""Made durable before anything follows from it: ``StoreWritten`` or ``StoreFailed`` comes back."""

PolicyMaps: TypeAlias = (
    ExpectVerdicts | SetZones | SetTables | ChangeTables | SetSourceBindings | ChangeSourceBindings
)

Effect: TypeAlias = (
    Announce
    | Withdraw
    | SendEndOfRib
    | RequestRefresh
    | ResetSession
    | ConfigureSpeakers
    | Save
    | PolicyMaps
    | ReadFlows
    | EndFlows
    | PublishWorkload
    | Answer
    | LogEvent
)


class Effects(msgspec.Struct):
    """The answer to one event (or to many, merged): the kernel's part and the rest, in order."""

    delta: Delta = msgspec.field(default_factory=Delta)
    actions: list[Effect] = msgspec.field(default_factory=list)
    in_sync: bool = False
    maps: int = 0
    """The number under which the policy maps' part is acknowledged; 0: there is none."""
    structure: int = 0
    """The number under which the data plane reports the VRFs of ``delta`` that it holds (devices,
    filters, labels); 0: nothing waits for them."""
