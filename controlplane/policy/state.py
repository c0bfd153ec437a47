"""The state machine of microsegmentation: who is there and what is in force -> orders.

No store, no kernel, no clock: every method takes what happened and returns what is to be done,
in the order in which it is to be done. The kernel holds an identity before its route is
advertised, and a route is withdrawn before the identity is deleted. What takes longer than a turn
is done in slices, by `work`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.effects import ChangeSourceBindings
from controlplane.model.prefix import Prefix
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    Endpoint,
    Inventory,
    RemoteEndpoint,
    Workload,
    WorkloadDetached,
)
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.endpoints.registry import EndpointRegistry, places
from controlplane.policy.endpoints.source_bindings import BindingTable
from controlplane.policy.in_force import is_frozen, policy_of, unreadable_in
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.orders import LayRoutes, Order
from controlplane.policy.tables import PolicyTables
from controlplane.policy.workload_routes import SentGroups, WorkloadRoutes

NEVER = float("inf")
HOLD_DOWN_SECONDS = 300.0
"""How long an address that lost its owner is denied unless an endpoint has it again."""


class PolicyState:
    """Hold one node's microsegmentation, first as the store kept it. No order is emitted before
    `begin`."""

    def __init__(self, population: EndpointRegistry, ledger: Ledger) -> None:
        self.population = population
        self.ledger = ledger
        self._bindings = BindingTable(population)
        self._routes = WorkloadRoutes(population, ledger)
        self.tables = PolicyTables(population, self._bindings, ledger)
        self._next_expiry = min(population.held_down.values(), default=NEVER)

    # -- what is asked ------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that grows with everything that can change an answer."""
        return self.tables.version

    @property
    def vrfs(self) -> Mapping[str, int]:
        """The VRFs of this node and their conntrack zones."""
        return self.tables.vrfs_under_policy.vrfs

    @property
    def zones(self) -> Mapping[str, int]:
        """Those of them that are under policy."""
        return self.tables.zones

    @property
    def begun(self) -> bool:
        """Whether enough is known to judge packets."""
        return self.tables.begun

    def policy(self, slot: Slot) -> Policy | None:
        """Return what a slot evaluates: a policy without rules while no revision is enforced, None
        where none is staged or the revision is unreadable."""
        return policy_of(self.ledger, slot)

    def unreadable(self) -> list[Revision]:
        """Return the revisions in force whose text this program does not accept."""
        return unreadable_in(self.ledger)

    @property
    def is_frozen(self) -> bool:
        """True while the enforced revision is unreadable: the kernel keeps judging by the tables
        that it has, and no order goes to it before a readable revision is promoted."""
        return is_frozen(self.ledger)

    def compiler(self, slot: Slot) -> IncrementalCompiler | None:
        """Return the tables of a slot as the kernel should hold them; None before `begin`."""
        return self.tables.compiler(slot)

    def inventory(self, *, everywhere: bool = True) -> Inventory:
        """Return who is there: in all VRFs of the node, or in those under policy."""
        zones = frozenset(self.vrfs if everywhere else self.zones)
        workloads: list[Workload] = []
        for name, attachment in self.population.attachments.items():
            if attachment.workload.vrf in zones:
                workloads.append(self.population.present(name))
        remotes = tuple(r for r in self.population.remotes() if r.vrf in zones)
        return Inventory(zones, tuple(workloads), remotes)

    def groups_to_send(self, workload: Workload) -> SentGroups:
        """Return the ids for a workload's routes."""
        return self._routes.groups_to_send(workload)

    def lost_with(self, name: str) -> list[EndpointKey]:
        """Return the places that go into hold-down if a workload leaves now."""
        population = self.population
        workload = population.attachments[name].workload
        alone = [place for place in places(workload) if population.owners(place) == {name}]
        return [place for place in alone if place not in population.remote]

    @property
    def next_deadline(self) -> float | None:
        """When `expire` may have something to do (boot clock); None: no hold-down is running."""
        return self._next_expiry if self._next_expiry < NEVER else None

    # -- work in slices -----------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """True while `work` has something to do."""
        return self.tables.is_busy or self._routes.is_behind

    @property
    def is_behind(self) -> bool:
        """True while tables or routes are not those of the ledger."""
        return self.tables.is_behind or self._routes.is_behind

    def work(self) -> list[Order]:
        """Do one turn's work. Raises NotCompiledError about what is being prepared."""
        orders = self.tables.work()
        if self._routes.is_behind and not self.tables.is_behind:
            _, laid = self._routes.advance(self.tables.left)
            orders += laid
        return orders

    # -- what happened ------------------------------------------------------------------------

    def begin(self) -> list[Order]:
        """Emit orders from now on, first for all that the kernel should hold."""
        return self.tables.begin()

    def routes(self) -> list[Order]:
        """Return the routes of all workloads: for a router that has just started."""
        return self._routes.lay(self.population.attachments.values())

    def set_vrfs(self, vrfs: Mapping[str, int]) -> list[Order]:
        """Set the VRFs of this node and their conntrack zones."""
        if dict(vrfs) == self.vrfs:
            return []
        self.tables.vrfs_under_policy.vrfs = dict(vrfs)
        return self.tables.rezone()

    def take_ledger(self, ledger: Ledger) -> list[Order]:
        """Put moved revisions in force; prepare their tables before, to have that at once."""
        self.ledger = ledger
        self._routes.follow(ledger)
        return self.tables.take(ledger)

    def attach(self, attachment: Attachment, now: float) -> list[Order]:
        """Add or change a workload; hold down the addresses that it gave up."""
        workload, population = attachment.workload, self.population
        former = population.attachments.get(workload.name)
        population.attach(attachment)
        given_up = set(places(former.workload)) if former else set()
        lost = given_up - set(places(workload))
        moved = self._move({*given_up, *places(workload)})
        put = [*self._hold_down(sorted(lost), now), population.present(workload.name)]
        # The hold-downs of its addresses end: those keys go.
        gone = [f"route {v} {p}" for v, p in places(workload) if (v, p) not in population.remote]
        return [*moved, *self.tables.change(put, gone), *self._routes.lay([attachment])]

    def detach(self, name: str, now: float) -> list[Order]:
        """Remove a workload; hold down its addresses. Raises KeyError if it is not attached."""
        workload = self.population.detach(name)
        self._routes.forget(name)
        held_down = self._hold_down(places(workload), now)
        moved = self._move(places(workload))
        gone = LayRoutes((WorkloadDetached(name),))
        return [gone, *moved, *self.tables.change(held_down, [workload.key])]

    def take_remote_endpoints(
        self, vrf: str, remote: Mapping[Prefix, RemoteEndpoint | None], now: float
    ) -> list[Order]:
        """Take in routes of other PEs that appeared, changed groups or were withdrawn."""
        population, lost = self.population, list[EndpointKey]()
        for prefix, endpoint in remote.items():
            if endpoint is None:
                if population.forget((vrf, prefix)):
                    lost.append((vrf, prefix))
            else:
                population.learn((vrf, prefix), endpoint)
        put: list[Endpoint] = list(self._hold_down(lost, now))
        put += [r for p in remote if (r := population.remote_at((vrf, p))) is not None]
        moved = {name for p in remote for name in population.owners((vrf, p))}
        put += [population.present(name) for name in sorted(moved)]
        kept = {claimant.key for claimant in put}
        gone = [key for p in remote if (key := f"route {vrf} {p}") not in kept]
        bindings = self._move((vrf, prefix) for prefix in remote)
        return [*bindings, *self.tables.change(put, gone)]

    def expire(self, now: float) -> list[Order]:
        """End the hold-downs that have lasted long enough; nothing is scanned before one has."""
        if now < self._next_expiry:
            return []
        held_down = self.population.held_down
        over = [place for place, until in held_down.items() if until <= now]
        self.population.end_hold_down(over)
        self._next_expiry = min(held_down.values(), default=NEVER)
        if not over:
            return []
        gone = [f"route {v} {p}" for v, p in over if (v, p) not in self.population.remote]
        return self.tables.change([], gone)

    # -- what follows -------------------------------------------------------------------------

    def _move(self, concerned: Iterable[EndpointKey]) -> list[Order]:
        """Compute the source bindings of these keys anew."""
        delta = self._bindings.settle(concerned)
        return [ChangeSourceBindings(delta)] if delta and self.tables.is_ordering else []

    def _hold_down(self, lost: Iterable[EndpointKey], now: float) -> list[Endpoint]:
        orphans = self.population.orphans(lost)
        if orphans:
            self.population.hold_down(orphans, now + HOLD_DOWN_SECONDS)
            self._next_expiry = min(self._next_expiry, now + HOLD_DOWN_SECONDS)
        found = map(self.population.remote_at, orphans)
        return [claimant for claimant in found if claimant is not None]
