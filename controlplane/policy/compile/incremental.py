"""Verdict tables kept up to date: one workload changes, a few map elements change.

Equal at every moment to compile_policy with the same books (property test). Not thread-safe;
a change of policy or of the set of VRFs is a new compilation and `tables.diff`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.model.prefix import Prefix
from controlplane.model.verdict_tables import Tables, TablesDelta
from controlplane.model.workload import Endpoint, Inventory, Workload
from controlplane.policy.compile.change_recorder import ABSENT, ChangeRecorder
from controlplane.policy.compile.coverage import cover
from controlplane.policy.compile.full import (
    Compiled,
    IdAllocators,
    address_map,
    is_host,
    network_prefixes,
    prefixes_of,
    range_map,
    rule_ids,
)
from controlplane.policy.compile.identity import PENDING, Identity, Membership, Memberships, agreed
from controlplane.policy.compile.identity_quota import RefusedAddresses, admitted
from controlplane.policy.compile.pair_table import PairTable
from controlplane.policy.compile.pairing import Pairing
from controlplane.policy.language.policy import Policy


class IncrementalCompiler:
    """Owns the tables of one policy and changes them as workloads and routes come and go."""

    def __init__(
        self, policy: Policy, inventory: Inventory, books: IdAllocators | None = None
    ) -> None:
        self.books = books or IdAllocators()
        self.policy = policy
        self.tables = Tables()
        self._journal = ChangeRecorder(self.tables)
        self._pairing = Pairing(policy, self.books.rules, self.books.contracts)
        self._memberships = Memberships(policy, inventory.known_groups)
        self._networks = {width: network_prefixes(policy, width) for width in (4, 16)}
        self._held: dict[str, tuple[str, tuple[Prefix, ...]]] = {}
        self._claims: dict[str, dict[Prefix, dict[str, Membership]]] = {}
        self._wide: dict[tuple[str, int], dict[Prefix, Membership]] = {}
        self._users: Counter[int] = Counter()
        self._changed: set[int] = set()
        self._names: dict[int, Identity] = {}
        self._refused = RefusedAddresses()
        self._kept: set[Identity] = set()
        self._pairs = PairTable(self._pairing, self.tables, self._journal)
        self._begin(inventory)

    def put(self, claimant: Endpoint) -> TablesDelta:
        """Attach a workload or learn a route, or replace the one with the same key.

        Raises ValueError when its VRF is not here. Where the VRF has no identity left for it, its
        addresses are pending until it has.
        """
        self._refuse_strangers(claimant)
        self._settle(self._claim(claimant))
        return self._journal.delta()

    def drop(self, key: str) -> TablesDelta:
        """Detach a workload or withdraw a route by its key; raises KeyError if it is not there."""
        zone, prefixes = self._held.pop(key)
        self._settle({(zone, p) for p in self._unclaim(key, zone, prefixes)})
        return self._journal.delta()

    def change(self, put: Iterable[Endpoint], drop: Iterable[str]) -> TablesDelta:
        """Several at once, as one delta; a key that is not there need not be dropped.

        Raises as `put` does, before anything is changed.
        """
        claimants = list(put)
        for claimant in claimants:
            self._refuse_strangers(claimant)
        touched: set[tuple[str, Prefix]] = set()
        for key in drop:
            if key in self._held:
                zone, prefixes = self._held.pop(key)
                touched |= {(zone, p) for p in self._unclaim(key, zone, prefixes)}
        for claimant in claimants:
            touched |= self._claim(claimant)
        self._settle(touched)
        return self._journal.delta()

    def know(self, groups: Iterable[int]) -> None:
        """Know other group ids of other revisions; `change` the endpoints that carry one."""
        self._memberships.know(groups)

    def refusal(self, workload: Workload) -> str:
        """Return why a workload's set of groups cannot have an identity now, "" if it can."""
        identity = Identity(workload.vrf, self._memberships.of(workload))
        return self.books.identities.refusal(identity)

    @property
    def refused(self) -> Mapping[str, int]:
        """By VRF, how many addresses and ranges are pending for want of an identity."""
        return self._refused.counts()

    def close(self) -> None:
        """Give back all numbers; the compiler is not to be used afterwards."""
        for identity in (*self._names.values(), *self._kept):
            self.books.identities.release(identity)
        self._pairing.close()

    def compiled(self) -> Compiled:
        """Return the tables as they are, with what their numbers stand for. Shares the tables."""
        return Compiled(self.policy, self.tables, dict(self._names), rule_ids(self._pairing))

    def _begin(self, inventory: Inventory) -> None:
        touched: set[tuple[str, Prefix]] = set()
        for zone in sorted(inventory.zones):
            self._claims[zone] = {}
            self._wide[zone, 4], self._wide[zone, 16] = {}, {}
        for claimant in inventory.claimants():
            touched |= self._claim(claimant)
        self._settle(touched, [*self._wide])
        self._journal.delta()

    def _refuse_strangers(self, claimant: Endpoint) -> None:
        if claimant.vrf not in self._claims:
            raise ValueError(f"{claimant.key} is in VRF {claimant.vrf!r}, which is not here")

    def _claim(self, claimant: Endpoint) -> set[tuple[str, Prefix]]:
        """Note whose prefixes these are; the places where that may have changed something."""
        zone, prefixes = claimant.vrf, prefixes_of(claimant)
        membership = self._memberships.of(claimant)
        before = self._held.get(claimant.key, (zone, ()))
        touched = {(before[0], p) for p in self._unclaim(claimant.key, *before)}
        for prefix in prefixes:
            self._claims[zone].setdefault(prefix, {})[claimant.key] = membership
        self._held[claimant.key] = (zone, prefixes)
        return touched | {(zone, prefix) for prefix in prefixes}

    def _unclaim(self, key: str, zone: str, prefixes: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
        claims = self._claims[zone]
        for prefix in set(prefixes):
            del claims[prefix][key]
            if not claims[prefix]:
                del claims[prefix]
        return prefixes

    def _settle(
        self, touched: Iterable[tuple[str, Prefix]], dirty: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Bring address maps, identities, pairs and contracts in line, in that order."""
        stale = set(dirty)
        again = self._refused.worth_another_try(self.books.identities)
        for zone, prefix in {*touched, *again}:
            claims = self._claims[zone].get(prefix)
            membership = agreed(claims.values()) if claims else None
            if is_host(prefix):
                key = (zone, prefix.packed)
                name = address_map(len(prefix.packed))
                if self._place(name, key, zone, membership):
                    self._refused.discard(zone, prefix)
                else:
                    self._refused.add(zone, prefix)
            elif self._widen(zone, prefix, membership):
                stale.add((zone, len(prefix.packed)))
        for zone, width in {*stale, *self._refused.ranges_worth_another_try(self.books.identities)}:
            self._cover(zone, width)
        self._settle_identities()

    def _widen(self, zone: str, prefix: Prefix, membership: Membership | None) -> bool:
        wide = self._wide[zone, len(prefix.packed)]
        if wide.get(prefix) == membership:
            return False
        if membership is None:
            del wide[prefix]
        else:
            wide[prefix] = membership
        return True

    def _cover(self, zone: str, width: int) -> None:
        ranges = cover(width, self._wide[zone, width], self._networks[width])
        wanted = {(zone, r.first, r.last): membership for r, membership in ranges.items()}
        name = range_map(width)
        present = [key for key in getattr(self.tables, name) if key[0] == zone]
        for key in present:
            if key not in wanted:
                self._place(name, key, zone, None)
        for key, membership in wanted.items():
            if not self._place(name, key, zone, membership):
                self._refused.add_range(zone, width)

    def _place(self, name: str, key: Any, zone: str, membership: Membership | None) -> bool:
        """Point an address or range at its identity (None: at nothing), and count the users.

        False where it had to be pending, since the VRF has no identity left.
        """
        before: int | None = getattr(self.tables, name).get(key)
        after: Any = ABSENT
        wanted = identity = None
        if membership is not None:
            wanted = Identity(zone, membership)
            identity = admitted(wanted, self.books.identities)
            after = self._number(identity)
            self._users[after] += 1
        if before is not None:
            self._users[before] -= 1
        if after != before:
            self._changed |= {number for number in (before, after) if isinstance(number, int)}
            self._journal.put(name, key, after)
        return identity == wanted

    def _number(self, identity: Identity) -> int:
        """Return the number of an identity, which this compiler refers to from now on."""
        number = self.books.identities.get(identity)
        if number is None or number not in self._names:
            number = self.books.identities.acquire(identity)
            self._names[number] = identity
            self._keep_pending(identity)
        return number

    def _keep_pending(self, identity: Identity) -> None:
        """Keep the number of what is pending in a VRF: it must be at hand when no other is, also
        after it was used and given back more often than there are numbers."""
        if identity.membership == PENDING and identity not in self._kept:
            self.books.identities.acquire(identity)
            self._kept.add(identity)

    def _settle_identities(self) -> None:
        for number in sorted(self._changed):
            identity, used = self._names[number], self._users[number] > 0
            if used and number not in self._pairs:
                self._pairs.enter(number, identity)
            elif not used:
                del self._names[number], self._users[number]
                if number in self._pairs:
                    self._pairs.leave(number, identity)
                self.books.identities.release(identity)
        self._changed.clear()
        self._pairs.release_unused()
