"""The verdict tables in force, and those that are being built to take their place.

Another revision, or another set of VRFs under policy, needs other tables. They are built in slices
(``building.py``), while the tables in force follow every endpoint that comes and goes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping

from controlplane.model.effects import ChangeTables, SetSourceBindings, SetTables, SetZones
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Endpoint, Workload
from controlplane.policy.building import Building
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.endpoints.source_bindings import BindingTable
from controlplane.policy.in_force import is_frozen
from controlplane.policy.language.revision import Ledger
from controlplane.policy.orders import Order, TablesAwaited, TablesBuilt
from controlplane.policy.vrfs_under_policy import VrfsUnderPolicy

SLICE = 2_000
"""Units of work in one turn, some microseconds each."""


class NotCompiledError(Exception):
    """A revision that is not in force yet cannot be compiled."""


class PolicyTables:
    """Of one node. ``left`` is what may be done in this turn yet; `work` begins another one."""

    def __init__(
        self, population: EndpointRegistry, bindings: BindingTable, ledger: Ledger
    ) -> None:
        self.vrfs_under_policy = VrfsUnderPolicy(population)
        self.zones: dict[str, int] = {}
        self.version = 0  # grows with everything that can change an answer
        self.begun = False  # whether enough is known to judge packets
        self.is_ordering = False  # whether orders go to the kernel
        self.left = SLICE
        self._population, self._bindings, self._ledger = population, bindings, ledger
        self._books = IdAllocators()
        self._in_force: dict[Slot, IncrementalCompiler] = {}
        self._building: Building | None = None
        self._is_awaited = False
        self._closing: deque[Iterator[int]] = deque()

    # -- what is asked ------------------------------------------------------------------------

    def compiler(self, slot: Slot) -> IncrementalCompiler | None:
        """Return the tables of a slot as the kernel should hold them; None before the first."""
        return self._in_force.get(slot)

    @property
    def is_building(self) -> bool:
        """True while tables are built, or wait for their ledger to be taken."""
        return self._building is not None

    @property
    def is_behind(self) -> bool:
        """True while the tables in force are not those of the ledger."""
        return self._building is not None and self._building.ledger is self._ledger

    @property
    def is_busy(self) -> bool:
        """True while `work` has something to do."""
        is_incomplete = self._building is not None and not self._building.is_complete
        return is_incomplete or self.is_behind or self.is_closing

    @property
    def is_closing(self) -> bool:
        """True while former tables give back their numbers."""
        return bool(self._closing)

    def under_policy(self) -> dict[str, int]:
        """Return the VRFs that are under policy, or will be once the tables for them are built."""
        return self.vrfs_under_policy.under(self._ledger)

    def refusal(self, workload: Workload) -> str:
        """Return why a workload's tags would exceed what its VRF may have, "" if they do not."""
        if workload.vrf not in self.zones:
            return ""
        return next(filter(None, (c.refusal(workload) for c in self._in_force.values())), "")

    @property
    def refused_identities(self) -> Mapping[str, int]:
        """By VRF, how many addresses are pending because the VRF has no identity left."""
        found: Counter[str] = Counter()
        for compiler in self._in_force.values():
            for vrf, count in compiler.refused.items():
                found[vrf] = max(found[vrf], count)
        return found

    # -- what happened ------------------------------------------------------------------------

    def confirm(self) -> None:
        """Note that the kernel holds all that was ordered: freed numbers may be given anew."""
        self._books.confirm()

    def retry_refused(self) -> list[Order]:
        """Give addresses that are pending for want of an identity one, as far as there is room."""
        if not self.refused_identities:
            return []
        changed = self._changed([], [])
        self.version += bool(changed)
        return changed

    def begin(self) -> list[Order]:
        """Build what the kernel should hold, unless that is not known."""
        self.begun = True
        self._building = self._begun_for(self._ledger)
        if self._building is None:
            return []
        self._is_awaited = True
        return [TablesAwaited(), *self._go_on()]

    def change(self, put: list[Endpoint], drop: list[str]) -> list[Order]:
        """Take in endpoints that came, changed and went."""
        self.version += 1
        orders: list[Order] = []
        # Only the first endpoint in a VRF, or the last, changes which VRFs are under policy.
        if not put or any(claimant.vrf not in self.zones for claimant in put):
            orders = self.rezone()
        if self._building is not None:
            self._building.change(put, drop)
        here = [claimant for claimant in put if claimant.vrf in self.zones]
        away = [claimant.key for claimant in put if claimant.vrf not in self.zones]
        return [*orders, *self._changed(here, [*drop, *away])]

    def rezone(self) -> list[Order]:
        """Have tables for the VRFs that are under policy now, if these are others."""
        wanted, building = self.under_policy(), self._building
        if building is not None:
            building.grow(self.vrfs_under_policy.under(building.ledger))
        if not self.is_ordering:
            self.version += wanted != self.zones
            self.zones = wanted
            return []
        if wanted == self.zones:
            return []
        if building is None and wanted.keys() == self.zones.keys():
            self.zones = wanted
            return [SetZones(dict(wanted))]
        if building is None:
            self._building = Building(
                self._ledger, wanted, self._population, self._books, ()
            )  # fmt: skip
        awaited: list[Order] = [] if self._is_awaited else [TablesAwaited()]
        self._is_awaited = True
        return [*awaited, *self._go_on()]

    # -- another ledger -----------------------------------------------------------------------

    def prepare(self, ledger: Ledger) -> None:
        """Begin to build what a ledger will put in force. Raises NotCompiledError."""
        self._building = self._begun_for(ledger)
        self._build()

    def is_prepared(self, ledger: Ledger) -> bool:
        """Return whether `take` has the tables of a ledger at hand."""
        building = self._building
        return building is None or (building.ledger is ledger and building.is_complete)

    def abandon(self) -> list[Order]:
        """Forget what was prepared."""
        if self._building is not None:
            self._closing.append(self._building.abandon())
            self._building = None
        return self._await_or_not()

    def take(self, ledger: Ledger) -> list[Order]:
        """Put a ledger in force, at once where its tables are prepared."""
        if self._building is None or self._building.ledger is not ledger:
            if self._building is not None:
                self._closing.append(self._building.abandon())
            self._building = self._begun_for(ledger)
        self._ledger = ledger
        self.version += 1
        return [*self.rezone(), *self._go_on()]

    def _begun_for(self, ledger: Ledger) -> Building | None:
        """Begin to build, unless no order goes to the kernel under that ledger."""
        if not self.begun or is_frozen(ledger):
            return None
        zones = self.vrfs_under_policy.under(ledger)
        ready = self._in_force.values() if zones.keys() == self.zones.keys() else ()
        return Building(ledger, zones, self._population, self._books, ready)

    # -- slices -------------------------------------------------------------------------------

    def work(self) -> list[Order]:
        """Do one turn's work. Raises NotCompiledError about tables that are being prepared."""
        self.left = SLICE
        return self._go_on()

    def _go_on(self) -> list[Order]:
        orders: list[Order] = []
        self._build()
        if self._building is not None and self._building.ledger is self._ledger:
            orders += self._put_in_force(self._building) if self._building.is_complete else []
        while self._closing and self.left > 0:
            self.left -= next(self._closing[0], 0) or self._closed()
        return orders

    def _closed(self) -> int:
        self._closing.popleft()
        return 1

    def _build(self) -> None:
        building = self._building
        if building is None or self.left <= 0:
            return
        try:
            self.left -= building.advance(self.left)
        except Exception as error:
            if building.ledger is self._ledger:
                raise
            raise NotCompiledError(str(error) or repr(error)) from error

    def _changed(self, put: list[Endpoint], drop: list[str]) -> list[Order]:
        orders: list[Order] = []
        for slot, compiler in self._in_force.items():
            delta = compiler.change(put, drop)
            if delta:
                orders.append(ChangeTables(slot, delta))
        return orders

    def _put_in_force(self, building: Building) -> list[Order]:
        former, self._in_force, self._building = self._in_force, building.compilers, None
        orders: list[Order] = []
        if not self.is_ordering:
            orders.append(SetSourceBindings(self._bindings.bindings.copy()))
            if Slot.STAGED not in self._in_force:  # a former process may have left some
                orders.append(SetTables(Slot.STAGED, None))
        for slot in Slot:
            compiler = self._in_force.get(slot)
            if compiler is not former.get(slot):
                orders.append(SetTables(slot, compiler.tables.copy() if compiler else None))
        if building.zones != self.zones or not self.is_ordering:
            orders.append(SetZones(dict(building.zones)))
        self.zones, self.is_ordering = dict(building.zones), True
        self.version += 1
        kept = {id(compiler) for compiler in self._in_force.values()}
        # Closed last, so that what both have keeps its number.
        self._closing += [c.close() for c in former.values() if id(c) not in kept]
        return [*orders, *self._await_or_not()]

    def _await_or_not(self) -> list[Order]:
        """Build for the VRFs that came and went meanwhile; else nothing is awaited any more."""
        orders = self.rezone()
        if self._building is None and self._is_awaited:
            self._is_awaited = False
            orders.append(TablesBuilt())
        return orders
