"""A policy map manager without a kernel: it holds what it was given, and can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from controlplane.model.effects import (
    ChangeSourceBindings,
    ChangeTables,
    SetSourceBindings,
    SetTables,
    SetZones,
)
from controlplane.model.flow import LiveFlow, OnFlows
from controlplane.model.prefix import IPAddress
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict import Verdict
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta, apply
from controlplane.model.workload import Packet
from controlplane.policy.compile.reader import Reader
from controlplane.policy.language.revision import Ledger
from controlplane.policy.orders import Order
from controlplane.policy.state import PolicyState


@dataclass
class FakeKernel:
    """Policy maps in memory: what is submitted is held, and acknowledged at once.

    `refuse` is why it is refused instead; while it is `slow`, nothing is acknowledged.
    """

    held: dict[Slot, Tables] = field(default_factory=dict)
    bindings: SourceBindings = field(default_factory=SourceBindings)
    under_policy: dict[str, int] = field(default_factory=dict)
    flows: dict[str, list[LiveFlow]] = field(default_factory=dict)
    ended: list[LiveFlow] = field(default_factory=list)
    asked: list[frozenset[str]] = field(default_factory=list)
    """The workloads whose flows were requested, one set per request; empty: of all."""
    refuse: Exception | None = None
    on_flows: OnFlows | None = None
    slow: bool = False
    marked: int = 0
    report: Callable[[int, str], None] = lambda _number, _reason: None
    closed: frozenset[str] = frozenset()
    failures: list[OSError | None] = field(default_factory=list)
    """What the next calls of `live` and `end` raise, None for nothing."""
    submitted: list[str] = field(default_factory=list)

    def zones(self, zones: dict[str, int]) -> None:
        self.under_policy = dict(zones)
        self.submitted.append("zones")

    def submit(self, slot: Slot, tables: Tables | None) -> None:
        self.submitted.append(f"submit {slot.value}")
        if tables is None:
            self.held.pop(slot, None)
        else:
            self.held[slot] = tables

    def submit_delta(self, slot: Slot, delta: TablesDelta) -> None:
        self.submitted.append(f"delta {slot.value}")
        apply(delta, self.held[slot])

    def submit_bindings(self, bindings: SourceBindings) -> None:
        self.bindings = bindings

    def submit_bindings_delta(self, delta: TablesDelta) -> None:
        apply(delta, self.bindings)

    def mark(self, number: int) -> None:
        self.marked = number
        if not self.slow:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Report that everything submitted by now is held, or refused."""
        self.report(self.marked, str(self.refuse or ""))

    def on_acknowledged(self, report: Callable[[int, str], None]) -> None:
        self.report = report

    def close(self, vrfs: frozenset[str]) -> None:
        self.closed |= vrfs

    def keep(self, vrfs: Collection[str]) -> None:
        self.closed &= frozenset(vrfs)

    def _fail(self) -> None:
        error = self.failures.pop(0) if self.failures else None
        if error is not None:
            raise error

    async def live(self, vrf: str, ends: Collection[IPAddress] = ()) -> Sequence[LiveFlow]:
        self.asked.append(frozenset(map(str, ends)))
        self._fail()
        return [
            flow
            for flow in self.flows.get(vrf, ())
            if flow not in self.ended and (not ends or {flow.source, flow.destination} & set(ends))
        ]

    async def end(self, flows: Sequence[LiveFlow]) -> int:
        self._fail()
        self.ended += flows
        return len(flows)

    def watch(self, on_flows: OnFlows) -> None:
        self.on_flows = on_flows

    def take(self, orders: Sequence[Order]) -> None:
        """Carry out what concerns the kernel."""
        for order in orders:
            match order:
                case SetZones(zones):
                    self.zones(dict(zones))
                case SetTables(slot, tables):
                    self.submit(slot, tables)
                case ChangeTables(slot, delta):
                    self.submit_delta(slot, delta)
                case SetSourceBindings(bindings):
                    self.submit_bindings(bindings)
                case ChangeSourceBindings(delta):
                    self.submit_bindings_delta(delta)

    def verdict(
        self, source: str, destination: str, port: int, *, vrf: str = "red",
        slot: Slot = Slot.ENFORCED,
    ) -> Verdict:  # fmt: skip
        src, dst = ip_address(source), ip_address(destination)
        packet = Packet(src.version, 6, dport=port)
        return Reader(self.held[slot]).verdict(vrf, src, dst, packet)

    def settle(self, state: PolicyState, orders: Sequence[Order]) -> list[Order]:
        """Carry out orders and all that takes more turns; return everything."""
        found = list(orders)
        while state.is_busy:
            found += state.work()
        self.take(found)
        return found


def move(kernel: FakeKernel, state: PolicyState, ledger: Ledger) -> list[Order]:
    """Have a ledger prepared and taken, as the controller does."""
    state.tables.prepare(ledger)
    prepared = kernel.settle(state, ())
    return [*prepared, *kernel.settle(state, state.take_ledger(ledger))]
