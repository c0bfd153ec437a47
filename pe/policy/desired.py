"""What the kernel should hold, and in what pieces it is brought there. No I/O.

A delta is encoded when it comes, and goes to the kernel as it is; any other change makes
the whole be worked out anew and compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.model.source_bindings import BINDING_MAPS, SourceBindings
from controlplane.model.verdict import EPOCHS
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta, apply
from pe.model.mark_code import ANY_BOOT, MarkCode
from pe.nft.diff import Change, difference
from pe.nft.model import Chain, Elements, Ruleset, Table
from pe.policy.binding_elements import BindingEncoder, PortNumbers
from pe.policy.elements import Encoder, gates
from pe.policy.ports import Port
from pe.policy.program import TABLE, Layout, of_epoch, program


@dataclass(slots=True)
class Wanted:
    """The last word on everything."""

    zones: dict[str, int] | None = None
    ports: dict[str, Port] = field(default_factory=dict)
    tables: dict[Slot, Tables | None] = field(default_factory=dict)
    bindings: SourceBindings = field(default_factory=SourceBindings)
    numbers: PortNumbers = field(default_factory=PortNumbers)
    epoch: int = 0
    """Counts, modulo EPOCHS, how often the enforced tables were replaced, or many flows at once
    were forbidden by a change of them."""
    epoch_began: bool = False
    """The rules of the epoch are to be loaded."""
    code: MarkCode = ANY_BOOT
    whole: bool = True
    """All is to be worked out anew."""
    changes: list[Change] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """False before anybody said what is to be enforced where: then a former run's table
        stays as it is."""
        return self.zones is not None and Slot.ENFORCED in self.tables

    @property
    def vrfs(self) -> frozenset[str]:
        """The VRFs under policy."""
        return frozenset(self.zones or ())

    def set_zones(self, zones: dict[str, int]) -> None:
        """Have these VRFs under policy."""
        if zones != self.zones:
            self.zones, self.whole = dict(zones), True

    def set_ports(self, ports: dict[str, Port]) -> None:
        """Know these ports and their VRFs."""
        ours = {name: port for name, port in ports.items() if port.vrf in (self.zones or ())}
        if ours == self.ports:
            return
        before, self.ports = self.ports, ours
        if not self.whole:
            change = difference(self._by_port(before, ours), self._by_port(ours, before))
            self.changes.append(change)

    def _by_port(self, ports: dict[str, Port], others: dict[str, Port]) -> Elements:
        """What depends on ports; of the bindings only what is not the same with the others."""
        zones, changed = self.zones or {}, {n for n, p in ports.items() if others.get(n) != p}
        bindings = BindingEncoder(zones, ports, self.numbers).shorter_ways(self.bindings, changed)
        return gates(zones, ports) | bindings

    def set_tables(self, slot: Slot, tables: Tables | None) -> None:
        """Have a slot hold these; a copy is made, the caller may change his.

        Connections that other enforced tables allowed are judged again, each by its next packet.
        """
        if slot is Slot.ENFORCED:
            self.begin_epoch()
        self.tables[slot] = tables.copy() if tables is not None else None
        self.whole = True

    def begin_epoch(self) -> None:
        """Have each connection judged again by its next packet."""
        self.epoch, self.epoch_began = (self.epoch + 1) % EPOCHS, True

    def take_epoch(self) -> dict[str, Chain]:
        """Return the chains of an epoch that began since the last time; empty if none did."""
        began, self.epoch_began = self.epoch_began, False
        return of_epoch(self.code, self.epoch) if began else {}

    def change_tables(self, slot: Slot, delta: TablesDelta) -> None:
        """Change a slot. Raises KeyError if it does not hold what the delta was made from."""
        tables = self.tables.get(slot)
        if tables is None:
            raise KeyError(slot)
        apply(delta, tables)
        if not self.whole:
            self.changes.append(Encoder(self.zones or {}).delta(slot, delta))

    def set_bindings(self, bindings: SourceBindings) -> None:
        """Have addresses live here; a copy is made."""
        self.bindings, self.whole = bindings.copy(), True
        for name in BINDING_MAPS:
            self.numbers.know(getattr(bindings, name).values())

    def change_bindings(self, delta: TablesDelta) -> None:
        """Change the bindings. Raises KeyError if they are not what the delta was made from."""
        fresh = self.numbers.know(port for change in delta.values() for port in change.put.values())
        encoder = BindingEncoder(self.zones or {}, self.ports, self.numbers)
        made = encoder.delta(delta, self.bindings)
        apply(delta, self.bindings)
        if not self.whole:
            self.changes.append({name: ((), found) for name, found in fresh.items() if found})
            self.changes.append(made)

    def take_change(self) -> Change | None:
        """The deltas since the last time as one; None if all is to be worked out."""
        changes, self.changes = self.changes, []
        return None if self.whole else combined(changes)

    def take_parts(self) -> Parts:
        """What ``ruleset`` is made from, safe from later changes."""
        self.changes, self.whole, self.epoch_began = [], False, False
        held = {slot: tables.copy() for slot, tables in self.tables.items() if tables is not None}
        bindings = (self.bindings.copy(), self.numbers, self.numbers.elements())
        return Parts(
            dict(self.zones or {}), dict(self.ports), held, *bindings, self.epoch, self.code
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Zones, ports and tables of one moment."""

    zones: dict[str, int]
    ports: dict[str, Port]
    tables: dict[Slot, Tables]
    bindings: SourceBindings
    numbers: PortNumbers
    numbered: Elements
    epoch: int
    code: MarkCode

    def ruleset(self) -> Ruleset:
        """Program and elements: much work where there is much."""
        if not self.zones:
            return {}
        zones, staged = frozenset(self.zones.values()), Slot.STAGED in self.tables
        layout = Layout(zones, staged=staged, epoch=self.epoch, code=self.code)
        encoder = Encoder(self.zones)
        elements: Elements = gates(self.zones, self.ports)
        elements |= BindingEncoder(self.zones, self.ports, self.numbers).all(self.bindings)
        elements |= self.numbered
        for slot, tables in self.tables.items():
            elements |= encoder.tables(slot, tables)
        whole = program(layout)
        filled = {name: elements.get(name, {}) for name in whole.sets}
        return {TABLE: Table(whole.chains, whole.sets, whole.counters, filled)}


def combined(changes: list[Change]) -> Change:
    """Several changes in a row as one: each key deleted and added at most once."""
    if len(changes) == 1:
        return changes[0]
    gone: dict[str, set[bytes]] = {}
    put: dict[str, dict[bytes, bytes]] = {}
    for change in changes:
        for name, (deleted, added) in change.items():
            fresh = put.setdefault(name, {})
            for key in deleted:
                if key in fresh:
                    del fresh[key]
                else:
                    gone.setdefault(name, set()).add(key)
            fresh.update(added)
    return {name: (gone.get(name, ()), put[name]) for name in put}
