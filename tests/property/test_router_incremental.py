"""However it got there, the router is where a fresh one would be that was given the net state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from unittest.mock import patch

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.model.attributes import Nlri
from controlplane.model.effects import RequestRefresh
from controlplane.model.events import (
    AdjacencyChanged,
    EndOfRib,
    Event,
    IntentChanged,
    PortChanged,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    TimePassed,
    UnderlayPath,
    UnderlayRouteChanged,
)
from controlplane.model.intent import NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import RouteDistinguisher
from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from controlplane.routing import reload
from controlplane.routing.decision_process import REWEIGH_SECONDS
from tests.property import router_worlds as worlds
from tests.unit.controlplane.rig import Rig, Told, prefix

GATEWAY = ip_address("10.0.0.2")
Said = dict[tuple[Family, RouteDistinguisher | None, Prefix], RoutesReceived]


def families_of(peer: PeerId) -> frozenset[Family]:
    return frozenset(family for family in Family if family.is_vpn is peer.is_core)


class RouterMachine(RuleBasedStateMachine):
    """Plays peers, kernel and operator. Peers answer a refresh; nothing is held back but by
    ``later``, which puts events into the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.intent: NodeIntent | None = None
        self.said: dict[PeerId, Said] = {}  # of the sessions that are up
        self.underlay: dict[Prefix, UnderlayRouteChanged] = {}
        self.ports: set[str] = set()
        self.turn: list[Event] = []
        self.workloads: dict[str, WorkloadAttached] = {}
        self.owners: dict[int, tuple[str, float]] = {}

    # -- what happens -------------------------------------------------------------------------

    @initialize(intent=worlds.intents())
    def begin(self, intent: NodeIntent) -> None:
        """Everything is there and up."""
        self.take_over(intent, later=False)
        for peer in worlds.CORE:
            self.core_changes(f"{peer.address}/32", worlds.WAY, 1, later=True)
        for name in worlds.PORTS:
            self.port_changes(name, up=True, later=True)
        self.come_up(later=False)

    def take_over(self, intent: NodeIntent, later: bool) -> None:
        self.intent = intent
        known = {peer.peer for peer in intent.all_peers}
        self.said = {peer: said for peer, said in self.said.items() if peer in known}
        self.happen([IntentChanged(intent)], later)

    @rule(data=st.data(), later=st.booleans())
    def reload(self, data: st.DataObject, later: bool) -> None:
        assert self.intent is not None
        self.take_over(data.draw(worlds.changed(self.intent)), later)

    @rule()
    def slow_down(self) -> None:
        """The kernel is slow: VRFs that change from now on are not reported."""
        self.happen([], later=False)
        self.rig.slow = True

    @precondition(lambda self: self.rig.slow)
    @rule()
    def catch_up(self) -> None:
        self.happen([], later=False)
        self.rig.slow = False
        self.rig.held()
        self.answer()

    @rule(seconds=st.sampled_from([1, 60, 200]))
    def wait(self, seconds: int) -> None:
        self.happen([], later=False)
        self.rig.wait(seconds)
        self.answer()
        answer_probes(self.rig)

    @rule(later=st.booleans())
    def come_up(self, later: bool) -> None:
        """Every session that is down comes up."""
        assert self.intent is not None
        down = [p.peer for p in self.intent.all_peers if p.peer not in self.said]
        self.said |= {peer: {} for peer in down}
        self.happen([self.session_up(peer) for peer in down], later)

    @precondition(lambda self: self.said)
    @rule(pick=st.integers(0, 9), later=st.booleans())
    def go_down(self, pick: int, later: bool) -> None:
        peer = self.some_peer(pick)
        del self.said[peer]
        self.happen([SessionDown(peer=peer, reason="")], later)

    @precondition(lambda self: self.said)
    @rule(pick=st.integers(0, 9), keep=st.integers(0, 3), later=st.booleans())
    def restart(self, pick: int, keep: int, later: bool) -> None:
        """A peer restarts and comes back with some of its routes."""
        peer = self.some_peer(pick)
        self.happen([SessionDown(peer=peer, reason="", graceful=True)], later)
        self.check_books()
        kept = dict(list(self.said[peer].items())[:keep])
        self.said[peer] = kept
        eors = [EndOfRib(peer, family) for family in families_of(peer)]
        self.happen([self.session_up(peer), *kept.values(), *eors], later)

    @rule(peer=st.sampled_from(worlds.CORE), data=st.data(), later=st.booleans())
    def a_pe_announces(self, peer: PeerId, data: st.DataObject, later: bool) -> None:
        if peer in self.said:
            self.announce(
                peer, worlds.core_words(peer, data.draw(worlds.some_prefixes), data), later
            )

    @rule(peer=st.sampled_from(worlds.CES), data=st.data(), later=st.booleans())
    def a_ce_announces(self, peer: PeerId, data: st.DataObject, later: bool) -> None:
        if peer in self.said:
            self.announce(peer, worlds.ce_words(peer, data.draw(worlds.some_prefixes), data), later)

    def announce(self, peer: PeerId, events: list[RoutesReceived], later: bool) -> None:
        for event in events:
            (nlri,) = event.nlri
            self.said[peer][(event.family, nlri.rd, nlri.prefix)] = event
        self.happen(events, later)

    @precondition(lambda self: any(self.said.values()))
    @rule(pick=st.integers(0, 99), later=st.booleans())
    def withdraw(self, pick: int, later: bool) -> None:
        held = [(peer, key) for peer, said in self.said.items() for key in said]
        peer, key = held[pick % len(held)]
        del self.said[peer][key]
        family, rd, found = key
        self.happen([RoutesWithdrawn(peer, family, [Nlri(found, rd)])], later)

    @precondition(lambda self: self.said)
    @rule(pick=st.integers(0, 9), later=st.booleans())
    def ask_for_refresh(self, pick: int, later: bool) -> None:
        peer = self.some_peer(pick)
        events = [RefreshRequested(peer, family) for family in families_of(peer)]
        self.happen(list(events), later)

    @rule(
        to=st.sampled_from(["10.255.0.2/32", "10.255.0.3/32", "10.255.0.0/24"]),
        paths=worlds.underlay_paths(), metric=st.sampled_from([1, 2]), later=st.booleans(),
    )  # fmt: skip
    def core_changes(
        self, to: str, paths: tuple[UnderlayPath, ...], metric: int, later: bool
    ) -> None:
        event = UnderlayRouteChanged(prefix(to), paths, metric)
        self.underlay.pop(event.prefix, None)
        if paths:
            self.underlay[event.prefix] = event
        self.happen([event], later)

    @rule(name=st.sampled_from(worlds.PORTS), up=st.booleans(), later=st.booleans())
    def port_changes(self, name: str, up: bool, later: bool) -> None:
        (self.ports.add if up else self.ports.discard)(name)
        if not up:  # the sessions over it end with their routes
            self.said = {p: said for p, said in self.said.items() if f"{p.vrf}-ce" != name}
        self.happen([PortChanged(name, present=True, up=up)], later)

    @rule(name=st.sampled_from(["web", "db"]), data=st.data(), later=st.booleans())
    def attach(self, name: str, data: st.DataObject, later: bool) -> None:
        """A workload comes, or is another one: other groups, another VRF and port."""
        taken = {p for n, each in self.workloads.items() if n != name for p in each.prefixes}
        event = data.draw(worlds.workloads(name))
        prefixes = tuple(p for p in event.prefixes if p not in taken)
        if prefixes:
            self.workloads[name] = event = msgspec.structs.replace(event, prefixes=prefixes)
            self.lay(event, later)

    @precondition(lambda self: self.workloads)
    @rule(pick=st.integers(0, 1), later=st.booleans())
    def detach(self, pick: int, later: bool) -> None:
        name = list(self.workloads)[pick % len(self.workloads)]
        del self.workloads[name]
        self.lay(WorkloadDetached(name), later)

    def lay(self, routes: WorkloadAttached | WorkloadDetached, later: bool) -> None:
        """Lay routes, as the policy does in the middle of a turn."""
        self.rig.router.state.lay(routes)
        self.happen([TimePassed()], later)

    # -- the machinery ------------------------------------------------------------------------

    def some_peer(self, pick: int) -> PeerId:
        return list(self.said)[pick % len(self.said)]

    def session_up(self, peer: PeerId) -> SessionUp:
        families = families_of(peer)
        return SessionUp(
            peer=peer, families=families, router_id=str(peer.address), restart_time=100,
            forwarding=families,
        )  # fmt: skip

    def happen(self, events: Sequence[Event], later: bool) -> None:
        self.turn += events
        if later:
            return
        turn, self.turn = self.turn, []
        for part in worlds.behind_reloads(turn):
            for event in part:
                if isinstance(event, SessionUp):
                    self.rig.advertised[event.peer] = {}
            self.rig.do(*part)
            self.answer()
        answer_probes(self.rig)
        self.answer()
        if any(isinstance(event, UnderlayRouteChanged) for event in turn):
            self.rig.wait(REWEIGH_SECONDS)
            self.answer()

    def answer(self) -> None:
        """Send the routes of peers again when the router asks for them."""
        while asked := self.rig.actions(RequestRefresh):
            self.rig.do(*(
                event
                for one in asked
                for (family, _, _), event in self.said.get(one.peer, {}).items()
                if family is one.family
            ))  # fmt: skip

    # -- what must hold -----------------------------------------------------------------------

    def fresh(self) -> Rig:
        """Return a new router that received the net state in another order."""
        rig = Rig(ledger=self.rig.router.ledger.copy())
        rig.wall = self.rig.wall
        assert self.intent is not None
        rig.reload(self.intent)
        for peer in reversed(list(self.said)):
            rig.advertised[peer] = {}
            rig.do(self.session_up(peer))
        rig.do(*(e for said in self.said.values() for e in reversed(list(said.values()))))
        rig.do(*self.underlay.values())
        rig.do(*(PortChanged(name, present=True, up=True) for name in self.ports))
        rig.do(*reversed(list(self.workloads.values())))
        answer_probes(rig)
        rig.wait(REWEIGH_SECONDS)
        return rig

    @invariant()
    def is_where_a_fresh_one_would_be(self) -> None:
        if self.turn or self.intent is None:
            return
        fresh = self.fresh()
        # A next hop that no route names any more is watched, and its link probed, for a while.
        kernel, probes = self.rig.kernel, self.rig.kernel.adjacencies
        assert probes.items() >= fresh.kernel.adjacencies.items()
        assert msgspec.structs.replace(kernel, adjacencies={}) == msgspec.structs.replace(
            fresh.kernel, adjacencies={}
        )
        if self.rig.router.state.pending:
            return  # announcements are held
        for peer in self.said:
            assert advertised(self.rig, peer) == advertised(fresh, peer)
            assert held(self.rig, peer) == held(fresh, peer)

    @invariant()
    def check_books(self) -> None:
        if self.turn:
            return
        router, kernel = self.rig.router, self.rig.kernel
        uses = Counter(hop for routes in kernel.routes.values() for hop in routes.values())
        assert uses == router.hops.uses
        assert kernel.next_hops == {hop: router.hops.resolve(hop) for hop in uses}
        for vrf in router.vrfs.values():
            assert all(router.hops.metric(p.hop) is not None for p in vrf.table.best.values())

    @invariant()
    def the_sessions_are_those_of_the_vrfs_that_the_kernel_holds(self) -> None:
        router = self.rig.router
        wanted = {p.intent.peer: p.intent for p in router.peers.values() if not p.disabled}
        found = {p.peer: p for peers in self.rig.sessions.values() for p in peers}
        assert found.keys() <= wanted.keys()
        pending = router.state.pending
        assert {n: p for n, p in found.items() if n.vrf not in pending} == {
            n: p for n, p in wanted.items() if n.vrf not in pending
        }

    @invariant()
    def no_vpn_label_is_alone_but_on_the_last_link(self) -> None:
        for hop in self.rig.kernel.next_hops.values() if not self.turn else ():
            for path in hop.paths if not hop.key.device else ():
                assert len(path.labels) > 1 or path.gateway == GATEWAY

    @invariant()
    def vpns_are_apart(self) -> None:
        for vrf in self.rig.router.vrfs.values() if not self.turn else ():
            for found in vrf.table.prefixes():
                for path in vrf.table.candidates(found):
                    own = path.source.vrf == vrf.name
                    shared = path.attributes.route_targets & vrf.intent.import_targets
                    assert own or (not path.source.vrf and shared)

    @invariant()
    def labels_stay_held_down(self) -> None:
        rest = 100
        for label, binding in self.rig.kernel.labels.items():
            owner, last = self.owners.get(label, (binding.vrf, self.rig.wall))
            assert owner == binding.vrf or self.rig.wall - last >= rest
            self.owners[label] = (binding.vrf, self.rig.wall)

    def teardown(self) -> None:
        """When every source is gone, so is everything that was said of it."""
        self.happen([], later=False)
        self.rig.slow = False
        self.rig.held()
        if self.intent is None:
            return
        for name in list(self.workloads):
            self.lay(WorkloadDetached(name), later=False)
        for name in worlds.PORTS:
            self.port_changes(name, up=False, later=False)
        for peer in list(self.said):
            for family, rd, found in list(self.said[peer]):
                self.rig.do(RoutesWithdrawn(peer, family, [Nlri(found, rd)]))
        blackholes = {r.prefix for v in self.intent.vrfs for r in v.static_routes if not r.port}
        for routes in self.rig.kernel.routes.values():
            assert set(routes) <= blackholes
        for peer in self.said:
            assert {nlri_prefix(key) for key in self.rig.advertised.get(peer, {})} <= blackholes


def answer_probes(rig: Rig) -> None:
    """One gateway is the PE that is asked for, the other one is not."""
    rig.do(*(AdjacencyChanged(a, a.gateway == GATEWAY) for a in rig.kernel.adjacencies))


def nlri_prefix(key: Prefix | tuple[object, Prefix]) -> Prefix:
    return key[1] if isinstance(key, tuple) else key


def advertised(rig: Rig, peer: PeerId) -> Told:
    return rig.advertised.get(peer, {})


def held(rig: Rig, peer: PeerId) -> dict[object, object]:
    rib = rig.router.peers[peer].adj_in
    return {
        (family, rd, prefix): (path.attributes, path.hop)
        for family in rib.families
        for rd, prefix, path in rib.routes(family)
    }


class PortionsMachine(RouterMachine):
    """Each VRF of a change of intent is a portion, and so a turn, of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = patch.object(reload, "AT_ONCE", 1)
        self.at_once.start()

    def teardown(self) -> None:
        self.at_once.stop()


TestRouter = RouterMachine.TestCase
TestPortions = PortionsMachine.TestCase
TestRouter.settings = TestPortions.settings = settings(
    max_examples=30,
    stateful_step_count=35,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
