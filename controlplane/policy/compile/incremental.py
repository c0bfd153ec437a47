"""Verdict tables kept up to date: one workload changes, a few map elements change.

Equal at every moment to compile_policy with the same books (property test). Not thread-safe;
a change of policy or of the set of VRFs is a new compilation.

A compilation of a large policy takes more than a turn of the router: `begun` makes a compiler that
has not compiled anything yet, `advance` takes it on by a count of work, and `expect` hands it what
comes and goes meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from controlplane.model.prefix import Prefix
from controlplane.model.verdict_tables import RangeKey, Tables, TablesDelta
from controlplane.model.workload import Endpoint, Inventory, Workload
from controlplane.policy.compile.change_recorder import ABSENT, ChangeRecorder
from controlplane.policy.compile.contract import NumberedRule
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

_K = TypeVar("_K")


class IncrementalCompiler:
    """Owns the tables of one policy and changes them as workloads and routes come and go."""

    def __init__(
        self, policy: Policy, inventory: Inventory, books: IdAllocators | None = None
    ) -> None:
        self._set_up(policy, books or IdAllocators())
        self.open(inventory.zones)
        self.expect(inventory.claimants(), ())
        while not self.is_complete:
            next(self._working)
        self._journal.forget()

    @classmethod
    def begun(cls, policy: Policy, books: IdAllocators) -> IncrementalCompiler:
        """Return a compiler that has everything to do yet."""
        compiler = cls.__new__(cls)
        compiler._set_up(policy, books)
        return compiler

    def _set_up(self, policy: Policy, books: IdAllocators) -> None:
        self.books = books
        self.policy = policy
        self.tables = Tables()
        self._journal = ChangeRecorder(self.tables)
        self._pairing = Pairing(policy, books.rules, books.contracts)
        self._held: dict[str, tuple[str, tuple[Prefix, ...]]] = {}
        self._claims: dict[str, dict[Prefix, dict[str, Membership]]] = {}
        self._wide: dict[tuple[str, int], dict[Prefix, Membership]] = {}
        self._covered: dict[tuple[str, int], Collection[RangeKey]] = {}
        self._users: Counter[int] = Counter()
        self._changed: set[int] = set()
        self._names: dict[int, Identity] = {}
        self._refused = RefusedAddresses()
        self._kept: set[Identity] = set()
        self._pairs = PairTable(self._pairing, self.tables, self._journal)
        self._arriving: dict[str, Endpoint | None] = {}
        self._touched: dict[tuple[str, Prefix], None] = {}
        self._stale: dict[tuple[str, int], None] = {}
        self._is_read = False
        self._working: Iterator[int] = self._work()

    # -- in slices, before the tables are used ------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """True once nothing is left for `advance`."""
        waiting = (self._arriving, self._touched, self._stale, self._changed)
        return self._is_read and not any(waiting)

    def open(self, zones: Iterable[str]) -> None:
        """Compile these VRFs too; `expect` their endpoints afterwards."""
        for zone in sorted(set(zones).difference(self._claims)):
            self._claims[zone] = {}
            for width in (4, 16):
                self._wide[zone, width] = {}
                self._stale[zone, width] = None

    def expect(self, put: Iterable[Endpoint], drop: Iterable[str]) -> None:
        """Have endpoints come, change and go in the work that is left; those in VRFs that are not
        here do not count."""
        for key in drop:
            self._arriving.pop(key, None)
            self._arriving[key] = None
        for claimant in put:
            self._arriving.pop(claimant.key, None)
            self._arriving[claimant.key] = claimant

    def advance(self, most: int) -> int:
        """Do up to about ``most`` units of the work that is left; return how many were done.

        A unit is a rule, an endpoint, an address or a pair of identities, some microseconds each.
        Raises IdsExhaustedError.
        """
        done = 0
        while done < most and not self.is_complete:
            done += next(self._working)
        self._journal.forget()
        return done

    def _work(self) -> Iterator[int]:
        """Yield the units of each piece of work, 0 while there is none."""
        yield from self._read()
        while True:
            if self._arriving:
                yield self._arrive()
            elif self._touched:
                self._settle_place(*_taken(self._touched))
                yield 4
            elif self._stale:
                yield self._cover(*_taken(self._stale))
            elif self._changed:
                number = next(iter(self._changed))
                yield from self._settle_identity(number)
                self._changed.discard(number)
            else:
                yield 0

    def _read(self) -> Iterator[int]:
        yield from self._pairing.read()
        self._memberships = Memberships(self.policy)
        yield len(self.policy.rules) // 10
        self._networks = {width: network_prefixes(self.policy, width) for width in (4, 16)}
        self._is_read = True
        yield len(self.policy.rules) // 10

    def _arrive(self) -> int:
        key = next(iter(self._arriving))
        claimant = self._arriving.pop(key)
        touched, matched = self._leave(key), self._memberships.matched
        if claimant is not None and claimant.vrf in self._claims:
            touched |= self._claim(claimant)
        self._touched.update(dict.fromkeys(touched))
        return 3 + 2 * len(touched) + (self._memberships.matched - matched) // 2

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
        if key not in self._held:
            raise KeyError(key)
        self._settle(self._leave(key))
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
            touched |= self._leave(key)
        for claimant in claimants:
            touched |= self._claim(claimant)
        self._settle(touched)
        return self._journal.delta()

    def refusal(self, workload: Workload) -> str:
        """Return why a workload's set of groups cannot have an identity now, "" if it can."""
        identity = Identity(workload.vrf, self._memberships.of(workload))
        return self.books.identities.refusal(identity)

    @property
    def refused(self) -> Mapping[str, int]:
        """By VRF, how many addresses and ranges are pending for want of an identity."""
        return self._refused.counts()

    def close(self) -> Iterator[int]:
        """Give back all numbers, yielding the units of each piece of work; the compiler is not to
        be used any more."""
        self._working = iter(())  # it refers to the compiler: memory is free at once without it
        for identity in (*self._names.values(), *self._kept):
            self.books.identities.release(identity)
            yield 1
        yield from self._pairing.close()

    @property
    def numbered_rules(self) -> Sequence[NumberedRule]:
        """Return the rules with the numbers that stand for them in verdicts."""
        return self._pairing.rules

    def rule_ids(self) -> dict[int, str]:
        """Return what rule numbers in verdicts stand for."""
        return rule_ids(self._pairing)

    def compiled(self) -> Compiled:
        """Return the tables as they are, with what their numbers stand for. Shares the tables."""
        return Compiled(self.policy, self.tables, dict(self._names), rule_ids(self._pairing))

    def _refuse_strangers(self, claimant: Endpoint) -> None:
        if claimant.vrf not in self._claims:
            raise ValueError(f"{claimant.key} is in VRF {claimant.vrf!r}, which is not here")

    def _claim(self, claimant: Endpoint) -> set[tuple[str, Prefix]]:
        """Note whose prefixes these are; the places where that may have changed something."""
        touched = self._leave(claimant.key)
        zone, prefixes = claimant.vrf, prefixes_of(claimant)
        membership = self._memberships.of(claimant)
        for prefix in prefixes:
            self._claims[zone].setdefault(prefix, {})[claimant.key] = membership
        self._held[claimant.key] = (zone, prefixes)
        return touched | {(zone, prefix) for prefix in prefixes}

    def _leave(self, key: str) -> set[tuple[str, Prefix]]:
        """Forget an endpoint, if it is there; the places where that may have changed something."""
        if key not in self._held:
            return set()
        zone, prefixes = self._held.pop(key)
        claims = self._claims[zone]
        for prefix in set(prefixes):
            del claims[prefix][key]
            if not claims[prefix]:
                del claims[prefix]
        return {(zone, prefix) for prefix in prefixes}

    def _settle(self, touched: Iterable[tuple[str, Prefix]]) -> None:
        """Bring address maps, identities, pairs and contracts in line, in that order."""
        numbers = self.books.identities
        for zone, prefix in {*touched, *self._refused.worth_another_try(numbers)}:
            self._settle_place(zone, prefix)
        self._stale.update(dict.fromkeys(self._refused.ranges_worth_another_try(numbers)))
        while self._stale:
            self._cover(*_taken(self._stale))
        for number in sorted(self._changed):
            for _ in self._settle_identity(number):
                pass
        self._changed.clear()

    def _settle_place(self, zone: str, prefix: Prefix) -> None:
        claims = self._claims[zone].get(prefix)
        membership = agreed(claims.values()) if claims else None
        if is_host(prefix):
            name = address_map(len(prefix.packed))
            if self._place(name, (zone, prefix.packed), zone, membership):
                self._refused.discard(zone, prefix)
            else:
                self._refused.add(zone, prefix)
        elif self._widen(zone, prefix, membership):
            self._stale[zone, len(prefix.packed)] = None

    def _widen(self, zone: str, prefix: Prefix, membership: Membership | None) -> bool:
        wide = self._wide[zone, len(prefix.packed)]
        if wide.get(prefix) == membership:
            return False
        if membership is None:
            del wide[prefix]
        else:
            wide[prefix] = membership
        return True

    def _cover(self, zone: str, width: int) -> int:
        """Compute the ranges of a VRF and family anew; return the units of that work."""
        ranges = cover(width, self._wide[zone, width], self._networks[width])
        wanted = {(zone, r.first, r.last): membership for r, membership in ranges.items()}
        name, present = range_map(width), self._covered.get((zone, width), ())
        for key in present:
            if key not in wanted:
                self._place(name, key, zone, None)
        for key, membership in wanted.items():
            if not self._place(name, key, zone, membership):
                self._refused.add_range(zone, width)
        self._covered[zone, width] = wanted.keys()
        return 2 + 2 * (len(wanted) + len(present))

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

    def _settle_identity(self, number: int) -> Iterator[int]:
        """Pair an identity that has its first address, forget one that has lost its last."""
        identity, used = self._names[number], self._users[number] > 0
        if used and number not in self._pairs:
            yield from self._pairs.enter(number, identity)
        elif not used:
            del self._names[number], self._users[number]
            if number in self._pairs:
                yield self._pairs.leave(number, identity)
            self.books.identities.release(identity)
        self._pairs.release_unused()


def _taken(waiting: dict[_K, None]) -> _K:
    """Take the first key."""
    key = next(iter(waiting))
    del waiting[key]
    return key
