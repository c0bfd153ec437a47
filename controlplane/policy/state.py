"""The state machine of microsegmentation: who is there and what is in force -> orders.

No store, no kernel, no clock: every method takes what happened and returns what is to be done,
in the order in which it is to be done. The kernel holds an identity before its route is
advertised, and a route is withdrawn before the identity is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.effects import (
    ChangeSourceBindings,
    ChangeTables,
    SetSourceBindings,
    SetTables,
    SetZones,
)
from controlplane.model.prefix import Prefix
from controlplane.model.revision import State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    Endpoint,
    Inventory,
    RemoteEndpoint,
    Workload,
    WorkloadAttached,
    WorkloadDetached,
)
from controlplane.policy.compile.directory import group_ids
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.identity import MOST_REMEMBERED
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.endpoints.registry import EndpointRegistry, places
from controlplane.policy.endpoints.source_bindings import BindingTable
from controlplane.policy.language.affected_vrfs import concerns
from controlplane.policy.language.outline import groups_in, may_concern
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.orders import LayRoutes, Order

NEVER = float("inf")
HOLD_DOWN_SECONDS = 300.0
"""How long an address that lost its owner is denied unless an endpoint has it again."""

_STATES = {Slot.ENFORCED: State.ENFORCED, Slot.STAGED: State.STAGED}
_KNOWN = (State.ENFORCED, State.STAGED, State.SUPERSEDED)


class PolicyState:
    """Hold one node's microsegmentation, first as the store kept it. No order is emitted before
    `begin`."""

    def __init__(self, population: EndpointRegistry, ledger: Ledger) -> None:
        self.population = population
        self.ledger = ledger
        self.version = 0  # grows with everything that can change an answer
        self._vrfs: dict[str, int] = {}  # those of this node, with their conntrack zones
        self._zones: dict[str, int] = {}  # those of them that are under policy
        self._books = IdAllocators()
        self._compilers: dict[Slot, IncrementalCompiler] = {}
        self._bindings = BindingTable(population)
        self.begun = False  # whether enough is known to judge packets
        self._ordering = False  # whether orders go to the kernel
        self._ids_by_tags: dict[frozenset[tuple[str, str]], frozenset[int]] = {}
        self._sent: dict[str, frozenset[int]] = {}  # what the routes carry
        self._next_expiry = min(population.held_down.values(), default=NEVER)

    # -- what is asked ------------------------------------------------------------------------

    @property
    def vrfs(self) -> Mapping[str, int]:
        """The VRFs of this node and their conntrack zones."""
        return self._vrfs

    @property
    def zones(self) -> Mapping[str, int]:
        """Those of them that are under policy."""
        return self._zones

    def policy(self, slot: Slot) -> Policy | None:
        """Return what a slot evaluates: a policy without rules while no revision is enforced, None
        where none is staged or the revision is unreadable."""
        revision = self.ledger.in_state(_STATES[slot])
        if revision is None:
            return Policy() if slot is Slot.ENFORCED else None
        return None if revision.problem else revision.policy

    def unreadable(self) -> list[Revision]:
        """Return the revisions in force whose text this program does not accept."""
        found = (self.ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
        return [revision for revision in found if revision is not None and revision.problem]

    @property
    def is_frozen(self) -> bool:
        """True while the enforced revision is unreadable: the kernel keeps judging by the tables
        that it has, and no order goes to it before a readable revision is promoted."""
        return any(revision.state is State.ENFORCED for revision in self.unreadable())

    def compiler(self, slot: Slot) -> IncrementalCompiler | None:
        """Return the tables of a slot as the kernel should hold them; None before `begin`."""
        return self._compilers.get(slot)

    def confirm(self) -> None:
        """Note that the kernel holds all that was ordered: freed numbers may be given anew."""
        self._books.confirm()

    def retry_refused(self) -> list[Order]:
        """Give addresses that are pending for want of an identity one, as far as there is room."""
        if not self.refused_identities:
            return []
        deltas = {slot: compiler.change([], []) for slot, compiler in self._compilers.items()}
        changed: list[Order] = [
            ChangeTables(slot, delta) for slot, delta in deltas.items() if delta
        ]
        self.version += bool(changed)
        return changed

    def refusal(self, workload: Workload) -> str:
        """Return why a workload's tags would exceed what its VRF may have, "" if they do not."""
        if workload.vrf not in self._zones:
            return ""
        return next(filter(None, (c.refusal(workload) for c in self._compilers.values())), "")

    @property
    def refused_identities(self) -> Mapping[str, int]:
        """By VRF, how many addresses are pending because the VRF has no identity left."""
        found: Counter[str] = Counter()
        for compiler in self._compilers.values():
            for vrf, count in compiler.refused.items():
                found[vrf] = max(found[vrf], count)
        return found

    def inventory(self, *, everywhere: bool = True) -> Inventory:
        """Return who is there: in all VRFs of the node, or in those under policy."""
        zones = frozenset(self._vrfs if everywhere else self._zones)
        workloads: list[Workload] = []
        for name, attachment in self.population.attachments.items():
            if attachment.workload.vrf in zones:
                workloads.append(self.population.present(name))
        remotes = tuple(r for r in self.population.remotes() if r.vrf in zones)
        return Inventory(zones, tuple(workloads), remotes, self.known_groups())

    def known_groups(self) -> frozenset[int]:
        """Return ids of all revisions that are or were in force here, or are about to be."""
        revisions = (r for r in self.ledger.revisions.values() if r.state in _KNOWN)
        return frozenset(number for r in revisions for number in r.groups)

    def groups_to_send(self, workload: Workload) -> frozenset[int]:
        """Return the ids for a workload's routes: of the enforced revision and of the staged one,
        so that no other PE, which may be ahead or behind, finds one missing."""
        tags = frozenset(workload.tags.items())
        found = self._ids_by_tags.get(tags)
        if found is None:
            policies = (self._groups(state) for state in (State.ENFORCED, State.STAGED))
            found = frozenset().union(*(group_ids(policy, workload) for policy in policies))
            if len(self._ids_by_tags) >= MOST_REMEMBERED:
                self._ids_by_tags.clear()
            self._ids_by_tags[tags] = found
        return found

    def _groups(self, state: State) -> Policy:
        """Return a policy with the groups of a revision, as far as they can be read: other PEs
        judge by them, whether this one can or not."""
        revision = self.ledger.in_state(state)
        if revision is None:
            return Policy()
        return Policy(groups_in(revision.document)) if revision.problem else revision.policy

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

    # -- what happened ------------------------------------------------------------------------

    def begin(self) -> list[Order]:
        """Emit orders from now on, first for all that the kernel should hold."""
        self.begun = True
        return self._begin_orders()

    def _begin_orders(self) -> list[Order]:
        """Order all that the kernel should hold, unless that is not known."""
        self._ordering = not self.is_frozen
        if not self._ordering:
            return []
        # A former process may have left something staged.
        nothing = [] if self.policy(Slot.STAGED) else [SetTables(Slot.STAGED, None)]
        return [SetSourceBindings(self._bindings.bindings.copy()), *nothing, *self._rebuild()]

    def routes(self) -> list[Order]:
        """Return the routes of all workloads: for a router that has just started."""
        return self._advertise(self.population.attachments.values())

    def set_vrfs(self, vrfs: Mapping[str, int]) -> list[Order]:
        """Set the VRFs of this node and their conntrack zones."""
        if dict(vrfs) == self._vrfs:
            return []
        self._vrfs = dict(vrfs)
        return self._rezone() or []

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
        return [*moved, *self._change(put, gone), *self._advertise([attachment])]

    def detach(self, name: str, now: float) -> list[Order]:
        """Remove a workload; hold down its addresses. Raises KeyError if it is not attached."""
        workload = self.population.detach(name)
        self._sent.pop(name, None)
        held_down = self._hold_down(places(workload), now)
        moved = self._move(places(workload))
        gone = LayRoutes((WorkloadDetached(name),))
        return [gone, *moved, *self._change(held_down, [workload.key])]

    def take_remote_endpoints(
        self, vrf: str, remote: Mapping[Prefix, RemoteEndpoint | None], now: float
    ) -> list[Order]:
        """Take in routes of other PEs that appeared, changed groups or were withdrawn."""
        population, lost = self.population, list[EndpointKey]()
        for prefix, endpoint in remote.items():
            if endpoint is None:
                if population.remote.pop((vrf, prefix), None) is not None:
                    lost.append((vrf, prefix))
            else:
                population.remote[vrf, prefix] = endpoint
                population.held_down.pop((vrf, prefix), None)
        put: list[Endpoint] = list(self._hold_down(lost, now))
        put += [r for p in remote if (r := population.remote_at((vrf, p))) is not None]
        moved = {name for p in remote for name in population.owners((vrf, p))}
        put += [population.present(name) for name in sorted(moved)]
        kept = {claimant.key for claimant in put}
        gone = [key for p in remote if (key := f"route {vrf} {p}") not in kept]
        bindings = self._move((vrf, prefix) for prefix in remote)
        return [*bindings, *self._change(put, gone)]

    def expire(self, now: float) -> list[Order]:
        """End the hold-downs that have lasted long enough; nothing is scanned before one has."""
        if now < self._next_expiry:
            return []
        held_down = self.population.held_down
        over = [place for place, until in held_down.items() if until <= now]
        for place in over:
            del held_down[place]
        self._next_expiry = min(held_down.values(), default=NEVER)
        if not over:
            return []
        gone = [f"route {v} {p}" for v, p in over if (v, p) not in self.population.remote]
        return self._change([], gone)

    def take_ledger(self, ledger: Ledger) -> list[Order]:
        """Take in moved revisions: compile what is new, keep what is there already."""
        self.ledger = ledger
        self._ids_by_tags.clear()
        orders = self._rezone()
        if orders is None:
            orders = self._recompile()
        if self.begun and not self._ordering:
            orders = self._begin_orders()
        self.version += 1
        anew = [a for n, a in self.population.attachments.items()
                if self.groups_to_send(a.workload) != self._sent.get(n)]  # fmt: skip
        return [*orders, *self._advertise(anew)]

    # -- what follows -------------------------------------------------------------------------

    def _move(self, concerned: Iterable[EndpointKey]) -> list[Order]:
        """Compute the source bindings of these keys anew."""
        delta = self._bindings.settle(concerned)
        return [ChangeSourceBindings(delta)] if delta and self._ordering else []

    def _hold_down(self, lost: Iterable[EndpointKey], now: float) -> list[Endpoint]:
        orphans = self.population.orphans(lost)
        if orphans:
            self.population.held_down.update(dict.fromkeys(orphans, now + HOLD_DOWN_SECONDS))
            self._next_expiry = min(self._next_expiry, now + HOLD_DOWN_SECONDS)
        found = map(self.population.remote_at, orphans)
        return [claimant for claimant in found if claimant is not None]

    def _change(self, put: list[Endpoint], drop: list[str]) -> list[Order]:
        self.version += 1
        # Only the first endpoint in a VRF, or the last, changes which VRFs are under policy.
        if not put or any(claimant.vrf not in self._zones for claimant in put):
            rezoned = self._rezone()
            if rezoned is not None:
                return rezoned
        here = [claimant for claimant in put if claimant.vrf in self._zones]
        away = [claimant.key for claimant in put if claimant.vrf not in self._zones]
        orders: list[Order] = []
        for slot, compiler in self._compilers.items():
            delta = compiler.change(here, [*drop, *away])
            if delta:
                orders.append(ChangeTables(slot, delta))
        return orders

    def _rezone(self) -> list[Order] | None:
        """Compile everything anew if other VRFs are under policy now; None if they are not."""
        lived_in = self.population.vrfs()
        policies = [policy for policy in map(self.policy, Slot) if policy]
        kept = [r.document for r in self.unreadable() if r.state is State.ENFORCED]
        wanted = {
            vrf: zone
            for vrf, zone in self._vrfs.items()
            if vrf in lived_in
            or any(concerns(policy, vrf) for policy in policies)
            or any(may_concern(document, vrf) for document in kept)
        }
        if wanted == self._zones:
            return None
        self._zones = wanted
        return self._rebuild() if self._ordering else []

    def _rebuild(self) -> list[Order]:
        self.version += 1
        former, self._compilers = self._compilers, {}
        if not self._ordering:
            return []
        orders = self._recompile()
        # Closed last, so that what both have keeps its number.
        for compiler in former.values():
            compiler.close()
        emptied = [SetTables(slot, None) for slot in former.keys() - self._compilers.keys()]
        return [*orders, *emptied, SetZones(dict(self._zones))]

    def _recompile(self) -> list[Order]:
        """Bring each slot to its revision; one that was compiled for the other slot is moved."""
        if not self._ordering:
            return []
        before, known = self._compilers, self.known_groups()
        ready = {id(compiler.policy): compiler for compiler in before.values()}
        self._compilers, orders = {}, list[Order]()
        for slot in Slot:
            policy = self.policy(slot)
            compiler = self._ready(policy, ready, known) if policy else None
            if compiler is not None:
                self._compilers[slot] = compiler
            if compiler is not before.get(slot):
                tables = compiler.tables.copy() if compiler else None
                orders.append(SetTables(slot, tables))
        kept = [id(compiler) for compiler in self._compilers.values()]
        for compiler in before.values():
            if id(compiler) not in kept:
                compiler.close()
        return [*orders, *self._learn(known)]

    def _ready(
        self, policy: Policy, ready: dict[int, IncrementalCompiler], known: frozenset[int]
    ) -> IncrementalCompiler:
        for compiler in ready.values():
            if compiler.policy is policy or compiler.policy == policy:
                return compiler
        inventory = self.inventory(everywhere=False)
        compiler = IncrementalCompiler(policy, inventory, self._books)
        compiler.know(known)
        return compiler

    def _learn(self, known: frozenset[int]) -> list[Order]:
        """Compile remote prefixes anew whose group ids became known or unknown."""
        concerned = [r for r in self.population.remotes() if r.groups and r.vrf in self._zones]
        orders: list[Order] = []
        for slot, compiler in self._compilers.items():
            compiler.know(known)
            delta = compiler.change(concerned, [])
            if delta:
                orders.append(ChangeTables(slot, delta))
        return orders

    def _advertise(self, attachments: Iterable[Attachment]) -> list[Order]:
        events = tuple(self._event(attachment) for attachment in attachments)
        return [LayRoutes(events)] if events else []

    def _event(self, attachment: Attachment) -> WorkloadAttached:
        workload = attachment.workload
        groups = self._sent[workload.name] = self.groups_to_send(workload)
        return WorkloadAttached(
            name=workload.name,
            vrf=workload.vrf,
            port=workload.port,
            prefixes=workload.addresses,
            groups=groups,
            moves=attachment.moves,
        )


def revision_of(ledger: Ledger, slot: Slot) -> Revision | None:
    """Return the revision that a slot holds."""
    return ledger.in_state(_STATES[slot])
