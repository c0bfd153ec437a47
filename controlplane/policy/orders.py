"""What the director wants done: orders to the kernel's keeper and words for the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.model.events import WorkloadAttached, WorkloadDetached
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta


@dataclass(frozen=True, slots=True)
class SetZones:
    """These VRFs (with their conntrack zones) are under policy, no others."""

    zones: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SetTables:
    """The slot holds these tables; None: nothing. They are the keeper's to hold on to."""

    slot: Slot
    tables: Tables | None


@dataclass(frozen=True, slots=True)
class ChangeTables:
    """The slot's tables change so."""

    slot: Slot
    delta: TablesDelta


@dataclass(frozen=True, slots=True)
class SetSourceBindings:
    """Addresses live here and nowhere else. They are the keeper's to hold on to."""

    homes: SourceBindings


@dataclass(frozen=True, slots=True)
class ChangeSourceBindings:
    """Somebody moved."""

    delta: TablesDelta


@dataclass(frozen=True, slots=True)
class TellRouter:
    """Words for the router, once all orders before this one are in the kernel."""

    events: tuple[WorkloadAttached | WorkloadDetached, ...]


Order = SetZones | SetTables | ChangeTables | SetSourceBindings | ChangeSourceBindings | TellRouter
