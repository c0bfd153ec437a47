"""What outlives the process of microsegmentation, as a store returns it."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.model.attachment import Attachment, EndpointKey, MembershipChange
from controlplane.model.instant import BootTime
from controlplane.model.observed import Baseline
from controlplane.model.revision import Entry, KeptRevision


@dataclass(slots=True)
class PolicyRecords:
    """Workloads, revisions, history and baselines. `held_down`: addresses by their loss."""

    attachments: dict[str, Attachment] = field(default_factory=dict)
    held_down: dict[EndpointKey, BootTime] = field(default_factory=dict)
    revisions: tuple[KeptRevision, ...] = ()
    trail: tuple[Entry, ...] = ()
    history: list[MembershipChange] = field(default_factory=list)
    baselines: dict[str, Baseline] = field(default_factory=dict)
