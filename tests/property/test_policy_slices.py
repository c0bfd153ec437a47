"""Tables built in slices are those of a compilation at once, with any changes in between."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.attachment import Attachment
from controlplane.model.prefix import Prefix
from controlplane.model.revision import Signature
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import RemoteEndpoint, RemotePrefix, Workload
from controlplane.policy import tables as tables_module
from controlplane.policy.compile.full import compile_policy
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.revision import Ledger, MoveError
from controlplane.policy.orders import Order, TablesAwaited, TablesBuilt
from controlplane.policy.state import HOLD_DOWN_SECONDS, PolicyState
from tests.property import segment_worlds as worlds
from tests.unit.policy.kernel import FakeKernel

SIGNED = Signature("ada", 1.0, "")
VRFS = [
    *({zone: n for n, zone in enumerate(zones, 1)} for zones in (worlds.ZONES, worlds.ZONES[:1])),
    {zone: 9 - n for n, zone in enumerate(worlds.ZONES, 1)},
]
steps = st.one_of(
    st.tuples(st.just("endpoint")),
    st.tuples(st.just("endpoint")),
    st.tuples(st.sampled_from(["detach", "withdraw", "wait", "abandon"])),
    st.tuples(st.sampled_from(["stage", "stage", "unstage", "promote", "rollback"])),
    st.tuples(st.just("vrfs"), st.sampled_from(VRFS)),
    st.tuples(st.just("work"), st.integers(1, 40)),
)


class World:
    """A policy state whose moves are prepared, and whose turns are counted out."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.kernel, self.now = rng, FakeKernel(), 0.0
        self.state = PolicyState(EndpointRegistry(), Ledger())
        self.moving: Ledger | None = None
        self.is_awaited = False
        self.turns = 0
        self.take(self.state.set_vrfs(VRFS[0]))
        self.take(self.state.begin())

    def take(self, orders: list[Order]) -> None:
        self.kernel.take(orders)
        for order in orders:
            if isinstance(order, TablesAwaited | TablesBuilt):
                assert self.is_awaited is isinstance(order, TablesBuilt)
                self.is_awaited = not self.is_awaited

    def step(self, step: tuple[object, ...]) -> None:
        state, rng = self.state, self.rng
        match step:
            case ("endpoint",):
                self.put(worlds.claimant(rng))
            case ("detach",) if state.population.attachments:
                name = rng.choice(sorted(state.population.attachments))
                self.take(state.detach(name, self.now))
            case ("withdraw",) if state.population.remote:
                vrf, prefix = rng.choice(sorted(state.population.remote))
                self.take(state.take_remote_endpoints(vrf, {prefix: None}, self.now))
            case ("wait",):
                self.now += HOLD_DOWN_SECONDS
                self.take(state.expire(self.now))
            case ("vrfs", dict(vrfs)):
                self.take(state.set_vrfs(vrfs))
            case ("work", int(turns)):
                for _ in range(turns):
                    self.work()
            case ("abandon",) if self.moving is not None:
                self.moving = None
                self.take(state.tables.abandon())
            case (str(move),) if self.moving is None and not state.tables.is_building:
                self.begin(move)

    def put(self, claimant: Workload | RemotePrefix) -> None:
        if isinstance(claimant, Workload):
            self.take(self.state.attach(Attachment(claimant, 1, 0.0), self.now))
        else:
            endpoint = RemoteEndpoint(claimant.groups or frozenset())
            remote: dict[Prefix, RemoteEndpoint | None] = {claimant.prefix: endpoint}
            self.take(self.state.take_remote_endpoints(claimant.vrf, remote, self.now))

    def begin(self, move: str) -> None:
        ledger = self.state.ledger
        try:
            match move:
                case "stage":
                    ledger, revision = ledger.draft(worlds.policy(self.rng))
                    ledger = ledger.stage(revision.digest, SIGNED)
                case "unstage":
                    ledger = ledger.unstage(SIGNED)
                case "promote":
                    ledger = ledger.promote(SIGNED)
                case "rollback":
                    ledger = ledger.roll_back(SIGNED)
                case _:
                    return
        except MoveError:
            return
        self.moving = ledger
        self.state.tables.prepare(ledger)

    def work(self) -> None:
        if self.moving is not None and self.state.tables.is_prepared(self.moving):
            ledger, self.moving = self.moving, None
            self.take(self.state.take_ledger(ledger))
            self.check()
        if self.state.is_busy:
            self.turns += 1
            self.take(self.state.work())
            self.check()

    def finish(self) -> None:
        for _ in range(100_000):
            if not self.state.is_busy and self.moving is None:
                break
            self.work()
        assert not self.state.is_busy
        assert not self.is_awaited
        assert self.state.tables.under_policy() == self.kernel.under_policy
        for slot in Slot:
            policy, held = self.state.policy(slot), self.kernel.held.get(slot)
            assert (policy is None) == (held is None)
            if policy is not None and held is not None:
                compiler = self.state.compiler(slot)
                assert compiler is not None
                assert compiler.policy == policy
        self.check()
        for attachment in self.state.population.attachments.values():
            name, groups = attachment.workload.name, self.state.groups_to_send(attachment.workload)
            assert self.state._routes._sent[name] == groups

    def check(self) -> None:
        """At every moment the kernel holds whole tables of the revision in force."""
        state = self.state
        zones = frozenset(self.kernel.under_policy)
        assert zones == set(state.zones) or not state.tables.is_ordering
        for slot, held in self.kernel.held.items():
            compiler = state.compiler(slot)
            assert compiler is not None
            assert held == compiler.tables
            if not state.tables.is_behind:
                inventory = state.inventory(everywhere=False)
                assert held == compile_policy(compiler.policy, inventory, compiler.books).tables


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "SLICE", 5)


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(steps, max_size=40))
def test_slices_lead_to_what_a_compilation_at_once_gives(
    rng: Random, script: list[tuple[object, ...]]
) -> None:
    world = World(rng)
    for step in script:
        world.step(step)
        world.check()
    world.finish()


def test_a_revision_takes_many_turns_with_these_slices() -> None:
    """The control: the test above has something between its slices."""
    world = World(Random(1))  # noqa: S311 - a test
    world.finish()
    for _ in range(20):
        world.put(worlds.claimant(world.rng))
    world.finish()
    before = world.turns
    world.begin("stage")
    world.finish()
    assert world.turns > before + 20
