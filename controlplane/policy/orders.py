"""What ``PolicyState`` wants done: changes of the policy maps, and workload routes to lay."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.effects import (
    ChangeSourceBindings,
    ChangeTables,
    SetSourceBindings,
    SetTables,
    SetZones,
)
from controlplane.model.workload import WorkloadAttached, WorkloadDetached


@dataclass(frozen=True, slots=True)
class LayRoutes:
    """Lay or withdraw these routes, once the kernel holds all orders before this one."""

    routes: tuple[WorkloadAttached | WorkloadDetached, ...]


@dataclass(frozen=True, slots=True)
class TablesAwaited:
    """Tables for other VRFs are being built: what follows waits for them."""


@dataclass(frozen=True, slots=True)
class TablesBuilt:
    """The tables that were awaited are among the orders before this one."""


MapOrder = SetZones | SetTables | ChangeTables | SetSourceBindings | ChangeSourceBindings
Order = MapOrder | LayRoutes | TablesAwaited | TablesBuilt
