"""Takes over a configuration as a difference, at start and at every reload.

Tables are filled anew only for VRFs that something changed for. What was chosen stays until the
new choice is made, so that only true differences leave the router.

A large change is taken over in portions, one a turn (``portions``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from controlplane.model.desired import objects_by_vrf
from controlplane.model.effects import Save, SaveLabels
from controlplane.model.intent import NodeIntent, VrfIntent
from controlplane.model.label import Label
from controlplane.model.rd import RouteTarget
from controlplane.routing.decision_process import DecisionProcess
from controlplane.routing.desired_vrf import Layout, difference
from controlplane.routing.portions import Portion, portions
from controlplane.routing.reload_peers import PeerReload
from controlplane.routing.route_import import RouteImport
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState
from controlplane.vpn.next_hop_resolver import Core
from controlplane.vpn.plan import VrfPlan, plan_vrfs
from controlplane.vpn.vrf import Vrf

AT_ONCE = 200
"""Ports, sessions, static routes and VRFs that one turn takes over, about 40 microseconds each."""
SOON = 1e-6


class Reload:
    """Changes of intent."""

    def __init__(self, state: RouterState, decisions: DecisionProcess, sessions: Sessions) -> None:
        self._state = state
        self._decisions = decisions
        self._peers = PeerReload(state, sessions)
        self._layout: Layout | None = None
        self._portions: deque[Portion] = deque()
        self._former: NodeIntent | None = None
        self._programmed: set[str] = set()
        self._configure: Callable[[], None] = _nothing
        self._then: Callable[[], None] = _nothing

    def plan(self, intent: NodeIntent) -> tuple[VrfPlan, list[Save]]:
        """Give out labels, and say what has to be saved before they count. Changes nothing.

        Raises IntentRefusedError.
        """
        state = self._state
        plan = plan_vrfs(intent, state.ledger, state.now.boot, state.tables, state.foreign_labels)
        if plan.ledger == self._state.ledger:
            return plan, []
        return plan, [SaveLabels(dict(plan.ledger.held), dict(plan.ledger.held_down))]

    def take_over(
        self, intent: NodeIntent, plan: VrfPlan,
        configure: Callable[[], None], then: Callable[[], None],
    ) -> None:  # fmt: skip
        """Make an intent ours whose labels are saved: the whole, or its first portion.

        Call ``configure`` once no VRF is left that the intent does not have, in the turn of the
        first change beyond that; ``then`` once the kernel holds all that changes.
        """
        state = self._state
        old = [(vrf.intent, vrf.label) for vrf in state.vrfs.values()]
        state.ledger, self._former, self._programmed = plan.ledger, state.intent, set()
        self._configure, self._then = configure, then
        state.workloads.mark_with(intent.asn, intent.segment_function)
        self._portions.extend(portions(state.intent, old, intent, plan.labels, AT_ONCE))
        self.go_on()

    def vrf_of(self, label: int) -> str | None:
        """Return the VRF that has a label, None if none has."""
        binding = self._layout.labels.get(Label(label)) if self._layout else None
        return binding.vrf if binding else None

    @property
    def is_under_way(self) -> bool:
        """True while portions are left; events wait until the last one is taken over."""
        return bool(self._portions)

    def go_on(self) -> None:
        """Take over the next portion."""
        state, portion = self._state, self._portions.popleft()
        intent = portion.intent
        old, state.intent = state.intent, intent
        links = {vrf.name: vrf.links for vrf in state.vrfs.values()}
        changed, stale = self._change_vrfs(old, intent, portion.labels)
        self._peers.change(intent, links, changed)
        self._refill(changed, stale)
        self._change_targets(old, intent)
        self._change_core(old, intent)
        self._programmed.update(self._lay_out(intent))
        # In another VRF no session is another one; those of the core are compared each time.
        state.configure_speakers(("", *changed, *(links.keys() - state.vrfs.keys())))
        if not portion.removes:
            self._configure()
            self._configure = _nothing
        if not self._portions:
            self._former = None
            state.pending.then(self._programmed, self._then)

    def deadlines(self) -> Iterator[float]:
        """Yield when the next portion is due: at once, after all else that the loop has to do."""
        if self._portions:
            yield self._state.now.monotonic + SOON

    # -- VRFs ---------------------------------------------------------------------------------

    def _change_vrfs(
        self, old: NodeIntent | None, new: NodeIntent, labels: Mapping[str, Label]
    ) -> tuple[frozenset[str], list[Vrf]]:
        """Bring the VRFs to the new intent; return the names of those that are new or have another
        intent, and the VRFs whose tables must be filled anew."""
        state, former = self._state, dict(self._state.vrfs)
        self._close_vrfs(new, labels)
        before = {vrf.name: vrf.intent for vrf in state.vrfs.values()}
        known = dict(state.vrfs)
        state.vrfs.clear()
        for intent in new.vrfs:
            state.vrfs[intent.name] = known.get(intent.name) or Vrf(
                intent, labels[intent.name], state.index
            )
        # An intent that is the same object says the same: the reader of the file keeps those.
        changed = [v for v in new.vrfs if before.get(v.name) is not v or v.name not in known]
        reexported = self._change_exports(changed)
        if former != state.vrfs or _concerns_imports(old, new, before, changed):
            own = {*new.loopbacks, *(peer.local_address for peer in new.peers)}
            state.route_import = RouteImport(state.vrfs, str(new.router_id), own)
            self._decisions.leaks.connect(list(state.vrfs.values()), int(new.router_id))
        moved = old is not None and old.router_id != new.router_id
        names = frozenset(intent.name for intent in changed)
        stale = [
            vrf
            for vrf in state.vrfs.values()
            if moved
            or ((vrf.name in names or reexported)
                and _needs_refill(before.get(vrf.name), vrf.intent, reexported))
        ]  # fmt: skip
        return names, stale

    def _close_vrfs(self, new: NodeIntent, labels: Mapping[str, Label]) -> None:
        """Delete the VRFs whose label or table changed: to the kernel they are new ones."""
        wanted = {v.name: (labels[v.name], v.table or int(labels[v.name])) for v in new.vrfs}
        gone = [
            vrf
            for vrf in self._state.vrfs.values()
            if wanted.get(vrf.name) != (vrf.label, vrf.number)
        ]
        for vrf in gone:
            self._decisions.close(vrf)
            del self._state.vrfs[vrf.name]
            if vrf.name in wanted:
                self._state.remade.add(vrf.name)
        for vrf in gone:  # once all are closed: what one takes back makes another one's table dirty
            self._state.index.forget(vrf.name)

    def _change_exports(self, changed: Iterable[VrfIntent]) -> set[RouteTarget]:
        """Advertise the new marks to the core; return the targets of all that changed.

        ``change`` compares with what is advertised, so only a link's own prefixes change by it.
        """
        touched: set[RouteTarget] = set()
        for intent in changed:
            vrf = self._state.vrfs[intent.name]
            before = vrf.mark
            vrf.reconfigure(intent)
            self._state.core_out.mark(vrf.name, vrf.mark)
            if vrf.mark != before:
                touched |= before.targets | vrf.mark.targets
                best = vrf.table.best.items()
                self._state.core_out.change(vrf.name, [(prefix, p, p) for prefix, p in best])
        return touched

    def _refill(self, changed: frozenset[str], stale: list[Vrf]) -> None:
        state = self._state
        for vrf in stale:
            vrf.table.clear()
        for name in dict.fromkeys((*changed, *(vrf.name for vrf in stale))):
            state.vrfs[name].lay_local()
            state.workloads.lay(state.vrfs[name])
        state.route_import.restore(stale, state.peers.values())
        for vrf in stale:
            self._decisions.leaks.fill(vrf)

    def _change_targets(self, old: NodeIntent | None, new: NodeIntent) -> None:
        """Drop what no VRF imports any more; at the end ask peers for what is new (RFC 4364 section
        4.3.2)."""
        state, imported = self._state, _imported(new)
        to_come = _imported(self._portions[-1].intent) if self._portions else imported
        if gone := _imported(old) - imported - to_come:
            state.route_import.forget_unimported(state.peers.values(), gone, to_come)
        former = self._former
        if not self._portions and former is not None and to_come - _imported(former):
            for peer in state.core_peers():
                state.ask_again(peer)

    def _change_core(self, old: NodeIntent | None, new: NodeIntent) -> None:
        ports = {port.name: frozenset(port.adjacent_pes) for port in new.core_ports}
        core = Core(ports, new.resolve_via_default, dict(new.igp_costs))
        turns = self._state.underlay.configure(core)
        self._decisions.ways_turned(turns)
        if old is not None and old.loopbacks != new.loopbacks:
            self._state.core_out.renew()

    def _lay_out(self, intent: NodeIntent) -> Iterable[str]:
        state, old, new = self._state, self._layout, Layout(intent, self._state.vrfs)
        delta = difference(old, new)
        state.effects.delta.merge(delta)
        self._layout = new
        before = (old.vrfs, old.ce_ports, old.labels) if old else ({}, {}, {})
        changed = objects_by_vrf(delta, *before).keys()
        if changed:  # of two reloads in one turn the second may change nothing
            state.effects.structure = state.pending.change(changed, state.now)
        return changed


def _nothing() -> None:
    pass


def _concerns_imports(
    old: NodeIntent | None, new: NodeIntent, before: Mapping[str, VrfIntent],
    changed: Iterable[VrfIntent],
) -> bool:  # fmt: skip
    """Return whether other routes are imported, or by other VRFs, than before."""
    if old is None or (old.router_id, old.loopbacks, old.peers) != (
        new.router_id, new.loopbacks, new.peers,
    ):  # fmt: skip
        return True
    return any(
        (before[v.name].import_targets, before[v.name].export_targets)
        != (v.import_targets, v.export_targets)
        for v in changed
    )


def _needs_refill(old: VrfIntent | None, new: VrfIntent, reexported: set[RouteTarget]) -> bool:
    """Return True where other routes may belong into the VRF's table than before."""
    if old is None or old.import_targets != new.import_targets or old.internet != new.internet:
        return True
    lowered = new.route_limit and not 0 < old.route_limit <= new.route_limit
    return bool(lowered) or not reexported.isdisjoint(new.import_targets)


def _imported(intent: NodeIntent | None) -> set[RouteTarget]:
    return {target for vrf in intent.vrfs for target in vrf.import_targets} if intent else set()
