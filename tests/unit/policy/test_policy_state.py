"""The policy state: what reaches the kernel and the router, and in which order."""

from __future__ import annotations

from controlplane.model.attachment import Attachment
from controlplane.model.effects import ChangeSourceBindings, ChangeTables, SetTables
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.source_bindings import ELSEWHERE
from controlplane.model.verdict import BY_PENDING, BY_VISIBILITY
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    RemoteEndpoint,
    StagedGroups,
    Workload,
    WorkloadAttached,
    WorkloadDetached,
)
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger
from controlplane.policy.orders import LayRoutes, Order
from controlplane.policy.state import HOLD_DOWN_SECONDS, PolicyState
from tests.unit.policy.kernel import FakeKernel

SIGNED = Signature("ada", 1.0, "")
PAYROLL = """
groups:
  web: {id: 101, selector: tier=web}
  payroll: {id: 102, selector: app=payroll}
modes: {groups: {payroll: full}}
rules: [allow web to payroll on tcp/443]
"""
WEB, PAY = "10.0.0.1", "10.0.0.2"


def workload(name: str, address: str, vrf: str = "red", **tags: str) -> Attachment:
    return Attachment(Workload(name, vrf, f"port-{name}", (parse_prefix(address),), tags), 1, 1.0)


class Desk:
    """A policy state whose orders are carried out."""

    def __init__(self, policy: str = PAYROLL) -> None:
        self.kernel, self.emitted = FakeKernel(), list[object]()
        self.state = PolicyState(EndpointRegistry(), Ledger())
        self.now = 1000.0
        self.do(self.state.set_vrfs({"red": 1, "blue": 2}))
        self.do(self.state.begin())
        if policy:
            self.stage(policy)
            self.do(self.state.take_ledger(self.state.ledger.promote(SIGNED)))

    def stage(self, policy: str) -> list[Order]:
        ledger, revision = self.state.ledger.draft(parse_policy(policy))
        return self.do(self.state.take_ledger(ledger.stage(revision.digest, SIGNED)))

    def do(self, orders: list[Order]) -> list[Order]:
        orders = self.kernel.settle(self.state, orders)
        self.emitted += [e for o in orders if isinstance(o, LayRoutes) for e in o.routes]
        return orders

    def attach(self, *args: str, **tags: str) -> list[Order]:
        return self.do(self.state.attach(workload(*args, **tags), self.now))

    def detach(self, name: str) -> list[Order]:
        return self.do(self.state.detach(name, self.now))

    def claim(self, address: str, *groups: int, gone: bool = False, moves: int = 0) -> list[Order]:
        said = None if gone else RemoteEndpoint(frozenset(groups), "10.255.0.2", moves)
        remote = {parse_prefix(address): said}
        return self.do(self.state.take_remote_endpoints("red", remote, self.now))

    def allowed(self, source: str, destination: str, port: int = 443) -> bool:
        return self.kernel.verdict(source, destination, port).allowed


def test_without_a_policy_nothing_is_denied_and_empty_vrfs_cost_nothing() -> None:
    desk = Desk("")
    assert desk.kernel.under_policy == {}
    desk.attach("web", WEB, tier="web")
    assert desk.kernel.under_policy == {"red": 1}
    assert desk.kernel.verdict(WEB, PAY, 443) == BY_VISIBILITY


def test_a_policy_for_all_vrfs_applies_to_empty_ones_too() -> None:
    desk = Desk("modes: {default: full}")
    assert desk.kernel.under_policy == {"red": 1, "blue": 2}
    assert not desk.allowed(WEB, PAY)
    assert Desk("modes: {vrfs: {blue: full}}").kernel.under_policy == {"blue": 2}
    assert Desk("rules: [deny any to outside in vrf red]").kernel.under_policy == {"red": 1}


def test_the_kernel_knows_a_workload_before_its_route_is_advertised() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    orders = desk.attach("pay", PAY, app="payroll")
    assert [type(o) for o in orders] == [ChangeSourceBindings, ChangeTables, LayRoutes]
    assert desk.allowed(WEB, PAY)
    assert not desk.allowed(WEB, PAY, 22)
    orders = desk.detach("pay")
    assert [type(o) for o in orders] == [LayRoutes, ChangeSourceBindings, ChangeTables]
    assert desk.emitted[-1] == WorkloadDetached("pay")


def test_a_workload_that_left_is_denied_until_it_is_known_where_it_went() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    desk.attach("pay", PAY, app="payroll")
    desk.detach("pay")
    assert desk.kernel.verdict(WEB, PAY, 443) == BY_PENDING
    desk.claim(PAY, 102)
    assert desk.allowed(WEB, PAY)
    assert not desk.allowed(WEB, PAY, 22)
    desk.claim(PAY, gone=True)
    assert desk.kernel.verdict(WEB, PAY, 443) == BY_PENDING
    desk.now += HOLD_DOWN_SECONDS
    assert desk.state.next_deadline == desk.now
    desk.do(desk.state.expire(desk.now))
    assert desk.allowed(WEB, PAY, 22)  # no endpoint: an address outside, in an open VRF
    assert desk.state.next_deadline is None


def test_a_claim_of_another_pe_beats_the_workload_here_and_gives_way_again() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    desk.attach("pay", PAY, app="payroll")
    desk.claim(PAY, 101, moves=1)  # it moved, and changed its group on the way
    assert desk.allowed(WEB, PAY, 22)
    desk.claim(PAY, gone=True)
    assert not desk.allowed(WEB, PAY, 22)
    assert desk.allowed(WEB, PAY)


def test_groups_that_the_policy_does_not_name_mean_nothing() -> None:
    """Another PE has staged or enforced a revision that is not here."""
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    desk.claim(PAY, 777)
    assert desk.kernel.verdict(WEB, PAY, 443) == BY_VISIBILITY
    desk.claim(PAY, 102, 777)
    assert desk.allowed(WEB, PAY)
    assert not desk.allowed(WEB, PAY, 22)


def test_a_revision_judges_by_the_groups_that_its_pe_found_by_it() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    ledger, revision = desk.state.ledger.draft(parse_policy(PAYROLL + "name: second"))
    staged = StagedGroups(revision.policy.revision, frozenset({102}))
    said = RemoteEndpoint(frozenset(), "10.255.0.2", 0, staged)
    desk.do(desk.state.take_remote_endpoints("red", {parse_prefix(PAY): said}, desk.now))
    assert desk.allowed(WEB, PAY, 22)
    desk.do(desk.state.take_ledger(ledger.stage(revision.digest, SIGNED)))
    assert desk.allowed(WEB, PAY, 22)
    assert not desk.kernel.verdict(WEB, PAY, 22, slot=Slot.STAGED).allowed
    desk.do(desk.state.take_ledger(desk.state.ledger.promote(SIGNED)))
    assert not desk.allowed(WEB, PAY, 22)


def test_routes_carry_the_groups_of_both_revisions() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    desk.stage("groups: {all: {id: 9, selector: has tier}}")
    emitted = desk.emitted[-1]
    assert isinstance(emitted, WorkloadAttached)
    revision = desk.state.policy(Slot.STAGED)
    assert revision is not None
    assert emitted.groups == {101}
    assert emitted.staged == StagedGroups(revision.revision, frozenset({9}))
    desk.do(desk.state.take_ledger(desk.state.ledger.promote(SIGNED)))
    emitted = desk.emitted[-1]
    assert isinstance(emitted, WorkloadAttached)
    assert emitted.groups == {9}
    assert emitted.staged is None


def test_promotion_moves_the_tables_that_were_staged() -> None:
    desk = Desk()
    desk.attach("web", WEB, tier="web")
    desk.stage("modes: {default: full}")
    assert desk.allowed(WEB, PAY, 22)
    assert not desk.kernel.verdict(WEB, PAY, 22, slot=Slot.STAGED).allowed
    staged = desk.state.compiler(Slot.STAGED)
    orders = desk.do(desk.state.take_ledger(desk.state.ledger.promote(SIGNED)))
    assert desk.state.compiler(Slot.ENFORCED) is staged
    assert [o.slot for o in orders if isinstance(o, SetTables)] == [Slot.ENFORCED, Slot.STAGED]
    assert not desk.allowed(WEB, PAY, 22)
    assert Slot.STAGED not in desk.kernel.held


def test_the_home_of_an_address_follows_its_workload() -> None:
    desk = Desk()
    place = ("red", parse_prefix(PAY).packed)
    desk.attach("pay", PAY, app="payroll")
    assert desk.kernel.bindings.bindings4 == {place: "port-pay"}
    desk.claim(PAY, 102)  # it is at another PE by now
    assert desk.kernel.bindings.bindings4 == {place: ELSEWHERE}
    desk.detach("pay")
    assert desk.kernel.bindings.bindings4 == {place: ELSEWHERE}
    desk.claim(PAY, gone=True)  # no endpoint has it: it is pending from every port
    assert desk.kernel.bindings.bindings4 == {}
    assert desk.kernel.verdict(PAY, WEB, 443) == BY_PENDING


def test_nothing_reaches_the_kernel_before_it_may() -> None:
    state = PolicyState(EndpointRegistry(), Ledger())
    assert state.set_vrfs({"red": 1}) == []
    orders = state.attach(workload("web", WEB, tier="web"), 1.0)
    assert [type(o) for o in orders] == [LayRoutes]
    assert [type(o).__name__ for o in state.begin()] == [
        "TablesAwaited",
        "SetSourceBindings",
        "SetTables",
        "SetTables",
        "SetZones",
        "TablesBuilt",
    ]
