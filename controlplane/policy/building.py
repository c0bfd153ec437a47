"""New verdict tables, built over several turns beside those in force.

A slice is bounded by a count of work, not by a clock: the policy's room has none. Endpoints that
come and go meanwhile are taken into both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Endpoint
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.in_force import policy_of
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger

AT_ONCE = 50
"""Endpoints that are listed before the next look at how much was done."""


class Building:
    """Build the tables of ``ledger`` for ``zones``; what is ``ready`` for them is not built anew.

    The zones may grow while it goes on, but never shrink: a VRF that leaves stays in the tables
    until the next building.
    """

    def __init__(
        self, ledger: Ledger, zones: Mapping[str, int], population: EndpointRegistry,
        books: IdAllocators, ready: Iterable[IncrementalCompiler],
    ) -> None:  # fmt: skip
        self.ledger, self.zones = ledger, dict(zones)
        self._population, self._books = population, books
        self.compilers: dict[Slot, IncrementalCompiler] = {}
        self.fresh: list[IncrementalCompiler] = []
        self._listings: list[Iterator[Endpoint | None]] = []
        known = list(ready)
        for slot in Slot:
            policy = policy_of(ledger, slot)
            if policy is not None:
                self.compilers[slot] = _taken_for(policy, known) or self._begun(policy)
        if self.fresh:
            self._list(frozenset(self.zones))

    @property
    def is_complete(self) -> bool:
        """True once the tables are as a compilation at once would make them."""
        return not self._listings and all(each.is_complete for each in self.fresh)

    def grow(self, zones: Mapping[str, int]) -> None:
        """Have these VRFs too, with these conntrack zones."""
        new = frozenset(zones).difference(self.zones)
        self.zones.update(zones)
        if not new:
            return
        for slot, compiler in self.compilers.items():
            if compiler not in self.fresh:  # it is in force, for the VRFs before
                self.compilers[slot] = self._begun(compiler.policy)
                new = frozenset(self.zones)
        for compiler in self.fresh:
            compiler.open(self.zones)
        self._list(new)

    def change(self, put: Iterable[Endpoint], drop: Iterable[str]) -> None:
        """Take in endpoints that came, changed and went."""
        put, drop = list(put), list(drop)
        for compiler in self.fresh:
            compiler.expect(put, drop)

    def advance(self, most: int) -> int:
        """Do up to about ``most`` units of work; return how many. Raises IdsExhaustedError."""
        done = 0
        while self._listings and done < most:
            listed = list(islice(self._listings[0], AT_ONCE))
            if not listed:
                del self._listings[0]
            endpoints = [each for each in listed if each is not None]
            for compiler in self.fresh:
                compiler.expect(endpoints, ())
            done += 1 + len(listed)
        for compiler in self.fresh:
            if done < most:
                done += compiler.advance(most - done)
        return done

    def abandon(self) -> Iterator[int]:
        """Give back the numbers of what was built, yielding the units of work."""
        for compiler in self.fresh:
            yield from compiler.close()

    def _begun(self, policy: Policy) -> IncrementalCompiler:
        compiler = IncrementalCompiler.begun(policy, self._books)
        compiler.open(self.zones)
        self.fresh.append(compiler)
        return compiler

    def _list(self, zones: frozenset[str]) -> None:
        """Have the endpoints of these VRFs come. Names and keys are listed now, and looked up as
        the work comes to them: what changed by then has been taken in already."""
        self._listings.append(self._endpoints(zones))

    def _endpoints(self, zones: frozenset[str]) -> Iterator[Endpoint | None]:
        """Yield each endpoint of the node, or None in its place where it does not count."""
        population = self._population
        for name in list(population.attachments):
            attachment = population.attachments.get(name)
            is_here = attachment is not None and attachment.workload.vrf in zones
            yield population.present(name) if is_here else None
        for place in [*population.remote, *population.held_down]:
            yield population.remote_at(place) if place[0] in zones else None


def _taken_for(policy: Policy, ready: list[IncrementalCompiler]) -> IncrementalCompiler | None:
    """Take the compiler of a policy: each slot has its own, which changes with its tables."""
    for compiler in ready:
        if compiler.policy is policy or compiler.policy == policy:
            ready.remove(compiler)
            return compiler
    return None
