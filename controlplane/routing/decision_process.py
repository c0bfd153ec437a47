"""From candidates to best paths, and from these to the kernel, to other VRFs and to the peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint

from controlplane.bgp.path import BestPathChange, Path, RouteProtocol
from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import IPAddress, Prefix
from controlplane.model.workload import RemoteEndpointsChanged
from controlplane.routing.left_out import Failures, LeftOut, LeftOutRoutes
from controlplane.routing.state import RouterState
from controlplane.vpn.inter_vrf_import import InterVrfImport
from controlplane.vpn.next_hop_resolver import Turns
from controlplane.vpn.vrf import Vrf

MANY_WATCHED = 4096
REWEIGH_SECONDS = 0.05
"""How long a decision waits where a way only costs more or less: the new path itself must be in
the kernel before a hundred thousand prefixes are looked at."""


class DecisionProcess:
    """Gathers what has turned, then decides once for all of it."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._turned: set[IPAddress] = set()
        self._turned_ports: set[str] = set()
        self._reweighed: set[IPAddress] = set()
        self._reweigh_due = float("inf")
        self._watched_most = MANY_WATCHED
        self.leaks = InterVrfImport()
        self.left_out = LeftOutRoutes(state)

    # -- what has turned ----------------------------------------------------------------------

    def ways_turned(self, turns: Turns) -> None:
        """Take in next hops that resolve anew: their objects change now, routes in ``settle``,
        and a little later where nothing but the metric is another."""
        state = self._state
        state.hops.refresh(turns, state.effects.delta)
        for address, (old, new) in turns.items():
            if old is None or new is None:
                self._turned.add(address)
            elif old.metric != new.metric:
                self._reweighed.add(address)
                self._reweigh_due = min(self._reweigh_due, state.now.monotonic + REWEIGH_SECONDS)

    def deadlines(self) -> Iterator[float]:
        """Yield when something is to be decided although nothing happens."""
        yield self._reweigh_due

    def port_turned(self, name: str, *, up: bool) -> None:
        """Take in a port that went up or down."""
        if self._state.hops.set_port(name, up=up):
            self._turned_ports.add(name)

    def _touch(self) -> None:
        if self._reweigh_due <= self._state.now.monotonic:
            self._turned |= self._reweighed
            self._reweighed, self._reweigh_due = set(), float("inf")
        if not self._turned and not self._turned_ports:
            return
        turned, ports = self._turned, self._turned_ports
        self._turned, self._turned_ports = set(), set()
        seen: dict[NextHopKey, bool] = {}

        def is_turned(hop: NextHopKey) -> bool:
            if hop not in seen:
                seen[hop] = hop.device in ports if hop.device else hop.address in turned
            return seen[hop]

        index, ways = self._state.index, (*turned, *ports)
        for name in dict.fromkeys(name for way in ways for name in index.through(way)):
            self._state.vrfs[name].table.touch(is_turned)

    # -- deciding -----------------------------------------------------------------------------

    def settle(self) -> None:
        """Choose best paths until nothing is left to choose: a leak dirties another VRF once."""
        self._touch()
        vrfs, dirty = self._state.vrfs, self._state.index.dirty
        while dirty:
            for name in list(dirty):
                self._decide(vrfs[name])
        if len(self._state.underlay.watched) > self._watched_most:
            self._watch_less()

    def _decide(self, vrf: Vrf) -> None:
        """Decide for one VRF; what raises is left out, and is not tried again as the same path."""
        before = self.left_out.of(vrf.name)
        failures: Failures = {}
        vrf.workloads.follow()
        if not before:
            changes = self._choose(vrf, failures)
        else:
            changes = self._decide_left_out(vrf, before, failures)
        for prefix, error in failures.items():
            path = next(iter(reversed(vrf.table.candidates(prefix))), None)
            self.left_out.add(vrf.name, prefix, path, error, chosen=False)
        if changes or vrf.table.has_new_conflicts:
            self._carry_out(vrf, changes)

    def _choose(self, vrf: Vrf, failures: Failures) -> list[BestPathChange]:
        find_conflict = self._state.workloads.find_conflict
        return vrf.table.decide(self._state.hops.metric, failures, find_conflict)

    def _decide_left_out(
        self, vrf: Vrf, before: dict[Prefix, LeftOut], failures: Failures
    ) -> list[BestPathChange]:
        """Decide for a VRF some routes of which are left out: the same path is not tried again."""
        decided = [prefix for prefix in vrf.table.dirty if prefix in before]
        changes = self._choose(vrf, failures)
        known = [p for p in decided if p in vrf.table.best and vrf.table.best[p] is before[p].tried]
        if known:
            skipped = frozenset(known)
            changes = [change for change in changes if change[0] not in skipped]
            vrf.table.leave_out(known)
        self.left_out.forget(vrf.name, [p for p in decided if p not in known and p not in failures])
        return changes

    def leave_out(self, vrf: Vrf, failures: Failures) -> None:
        """Take back routes that could not be carried out or announced.

        What cannot be taken back either raises: half a withdrawal cannot be kept.
        """
        for prefix, error in failures.items():
            best = vrf.table.best.get(prefix)
            self.left_out.add(vrf.name, prefix, best, error, chosen=True)
        for error in self._offer(vrf, vrf.table.leave_out(failures)).values():
            raise error

    def close(self, vrf: Vrf) -> None:
        """Delete a VRF and all that followed from its routes."""
        gone: list[BestPathChange] = [
            (prefix, best, None) for prefix, best in vrf.table.best.items()
        ]
        vrf.table.end_conflicts()
        self._carry_out(vrf, gone)
        self._state.core_out.forget(vrf.name)
        self.left_out.forget_vrf(vrf.name)

    def _carry_out(self, vrf: Vrf, changes: list[BestPathChange]) -> None:
        failures = self._offer(vrf, changes)
        withdrawn = [p for p, _, new in changes if new is None and p in failures]
        if withdrawn:
            raise failures[withdrawn[0]]
        if failures:
            self.leave_out(vrf, failures)

    def _offer(self, vrf: Vrf, changes: list[BestPathChange]) -> Failures:
        """Carry changes into the kernel, to the peers and into other VRFs.

        Returns the prefixes that could not be carried everywhere; all others are.
        """
        failures: Failures = {}
        self._program(vrf, changes, failures)
        core_out, others = self._state.core_out, self.leaks
        _each(lambda some: core_out.change(vrf.name, some), changes, failures)
        for out in self._state.ce_out.get(vrf.name, {}).values():
            _each(out.change, changes, failures)
        _each(lambda some: others.carry(vrf, some), changes, failures)
        self._identify(vrf, changes, failures)
        return failures

    def _identify(self, vrf: Vrf, changes: list[BestPathChange], failures: Failures) -> None:
        state, found = self._state, RemoteEndpointsChanged(vrf.name, {})
        claims = vrf.table.claim_changes(changes)
        try:
            found = state.workloads.remote_endpoints(vrf.name, claims) or found
        except Exception:
            for claim in claims:
                try:
                    one = state.workloads.remote_endpoints(vrf.name, [claim])
                    found.remote.update(one.remote if one else {})
                except Exception as error:
                    prefix, _, new = claim
                    found.remote[prefix] = None  # as it is after a withdrawal
                    if new is not None:
                        failures[prefix] = error
        if found.remote:
            state.remote_endpoints.append(found)

    def _program(self, vrf: Vrf, changes: list[BestPathChange], failures: Failures) -> None:
        delta, uses = self._state.effects.delta, dict[NextHopKey, int]()
        routes = delta.routes.setdefault(vrf.number, {})
        for prefix, old, new in changes:
            before, after = _kernel_hop(old), _kernel_hop(new)
            if before is after or before == after:
                continue
            routes[prefix] = after
            if after is not None:
                uses[after] = uses.get(after, 0) + 1
            if before is not None:
                uses[before] = uses.get(before, 0) - 1
        if not routes:
            del delta.routes[vrf.number]
        for hop, more in uses.items():
            try:
                self._state.hops.count(hop, more, delta)
            except Exception as error:  # it is counted, and has no object
                of_hop = [prefix for prefix, _, new in changes if _kernel_hop(new) == hop]
                if not of_hop:
                    raise
                failures.update(dict.fromkeys(of_hop, error))

    def _watch_less(self) -> None:
        """Stop tracking next hops that no candidate has: peers choose which they name."""
        paths = (path for vrf in self._state.vrfs.values() for path in vrf.table.paths())
        used = {path.hop.address for path in paths if path.hop.address is not None}
        self._state.underlay.watch_only(used)
        self._watched_most = max(MANY_WATCHED, 2 * len(used))


def _each(
    step: Callable[[Iterable[BestPathChange]], None], changes: list[BestPathChange],
    failures: Failures,
) -> None:  # fmt: skip
    """Have a step take changes one by one; after one that raises it goes on with the next."""
    rest = iter(changes)
    while True:
        try:
            step(rest)
        except Exception as error:
            taken = len(changes) - length_hint(rest)
            if not taken:
                raise
            failures[changes[taken - 1][0]] = error
        else:
            return


def _kernel_hop(path: Path | None) -> NextHopKey | None:
    """Return the next hop of a route that is ours to install: a link's own prefix is the
    kernel's."""
    if path is None or path.source.protocol is RouteProtocol.CONNECTED:
        return None
    return path.hop
