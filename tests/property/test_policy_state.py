"""After any history, the kernel holds what a compilation from scratch gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.attachment import Attachment
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.source_bindings import ELSEWHERE
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import HERE, Packet, RemoteEndpoint, Workload
from controlplane.policy.compile.full import compile_policy
from controlplane.policy.compile.reader import Reader
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.endpoints.source_bindings import BindingTable, binding_of
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import meaning_of
from controlplane.policy.language.revision import Ledger, MoveError
from controlplane.policy.orders import Order
from controlplane.policy.state import HOLD_DOWN_SECONDS, PolicyState
from tests.unit.policy.kernel import FakeKernel

PREFIXES = [parse_prefix(f"10.0.0.{n}") for n in range(4)] + [parse_prefix("10.0.0.0/30")]
POLICIES = [
    "groups: {a: {id: 1, selector: t=a}, b: {id: 2, selector: t=b}}\nrules: [deny a to b, log b]",
    "groups: {a: {id: 1, selector: t=a}}\nmodes: {groups: {a: full}}\nrules: [allow a to a]",
    "modes: {vrfs: {blue: full}}\ngroups: {c: {id: 3, selector: has t}}\nrules: [deny c to any]",
]
PARSED = [parse_policy(text.replace("log b]", "log b to any]")) for text in POLICIES]
SIGNED = Signature("ada", 1.0, "")
NAMES = ((1, "a"), (1, "other"), (2, "b"), (3, "c"))
MEANINGS = [meaning for named in NAMES if (meaning := meaning_of(*named)) is not None]

places = st.tuples(st.sampled_from(["red", "blue"]), st.sampled_from(PREFIXES))
steps = st.one_of(
    st.tuples(
        st.just("attach"),
        st.sampled_from("xyz"),
        places,
        st.sampled_from("abc"),
        st.sampled_from("pq"),
    ),
    st.tuples(st.just("detach"), st.sampled_from("xyz")),
    st.tuples(st.just("claim"), places, st.frozensets(st.integers(1, 4), max_size=2)),
    st.tuples(
        st.just("claim"),
        places,
        st.frozensets(st.integers(1, 4), max_size=2),
        st.frozensets(st.sampled_from(MEANINGS), max_size=3),
    ),
    st.tuples(st.just("conflict"), places, st.sampled_from([HERE, "10.255.0.3"])),
    st.tuples(st.just("unclaim"), places),
    st.tuples(st.just("wait"), st.sampled_from([1.0, HOLD_DOWN_SECONDS])),
    st.tuples(st.just("stage"), st.sampled_from(PARSED)),
    st.tuples(st.sampled_from(["unstage", "promote", "rollback"])),
    st.tuples(st.just("vrfs"), st.sampled_from([{"red": 1}, {"red": 1, "blue": 2}])),
)


class World:
    def __init__(self) -> None:
        self.state, self.kernel, self.now = (
            PolicyState(EndpointRegistry(), Ledger()),
            FakeKernel(),
            0.0,
        )
        self.take(self.state.set_vrfs({"red": 1, "blue": 2}))
        self.take(self.state.begin())

    def take(self, orders: list[Order]) -> None:
        self.kernel.settle(self.state, orders)

    def step(self, step: tuple[object, ...]) -> None:
        state = self.state
        match step:
            case ("attach", str(name), (str(vrf), Prefix() as prefix), str(tag), str(port)):
                workload = Workload(name, vrf, port, (prefix,), {"t": tag})
                self.take(state.attach(Attachment(workload, 1, 0.0), self.now))
            case ("detach", str(name)) if name in state.population.attachments:
                self.take(state.detach(name, self.now))
            case ("claim", (str(vrf), Prefix() as prefix), frozenset() as groups):
                remote = {prefix: RemoteEndpoint(groups)}
                self.take(state.take_remote_endpoints(vrf, remote, self.now))
            case ("claim", (str(vrf), Prefix() as prefix), groups, frozenset() as meanings):
                remote = {prefix: RemoteEndpoint(groups, meanings=meanings)}  # type: ignore[arg-type]
                self.take(state.take_remote_endpoints(vrf, remote, self.now))
            case ("conflict", (str(vrf), Prefix() as prefix), str(place)):
                remote = {prefix: RemoteEndpoint(None, conflict=("10.255.0.2", place))}
                self.take(state.take_remote_endpoints(vrf, remote, self.now))
            case ("unclaim", (str(vrf), Prefix() as prefix)):
                self.take(state.take_remote_endpoints(vrf, {prefix: None}, self.now))
            case ("wait", float(seconds)):
                self.now += seconds
                self.take(state.expire(self.now))
            case ("vrfs", dict(vrfs)):
                self.take(state.set_vrfs(vrfs))
            case (str(move), *rest):
                self.move(move, rest)

    def move(self, move: str, rest: list[object]) -> None:
        ledger = self.state.ledger
        try:
            match move, rest:
                case "stage", [policy]:
                    ledger, revision = ledger.draft(policy)  # type: ignore[arg-type]
                    ledger = ledger.stage(revision.digest, SIGNED)
                case "unstage", _:
                    ledger = ledger.unstage(SIGNED)
                case "promote", _:
                    ledger = ledger.promote(SIGNED)
                case "rollback", _:
                    ledger = ledger.roll_back(SIGNED)
        except MoveError:
            return
        self.take(self.state.take_ledger(ledger))

    def check(self) -> None:
        self.check_bindings()
        for slot in Slot:
            policy = self.state.policy(slot)
            held = self.kernel.held.get(slot)
            assert (policy is None) == (held is None)
            if policy is not None and held is not None:
                compiler = self.state.compiler(slot)
                assert compiler is not None
                assert held == compiler.tables
                inventory = self.state.inventory(everywhere=False)
                assert held == compile_policy(policy, inventory, compiler.books).tables
                self.check_everywhere(slot)

    def check_bindings(self) -> None:
        """Check each address's source binding: that of the longest prefix."""
        population, bindings = self.state.population, self.kernel.bindings
        assert bindings == BindingTable(population).bindings
        for vrf in ("red", "blue"):
            for single in PREFIXES[:4]:
                says = [binding_of((vrf, prefix), population) for prefix in (single, PREFIXES[4])]
                meant = next((port for port in says if port is not None), None)
                spans = [port for (v, first, last), port in bindings.binding_ranges4.items()
                         if v == vrf and first <= single.packed <= last]  # fmt: skip
                assert len(spans) <= 1
                found = bindings.bindings4.get((vrf, single.packed), next(iter(spans), None))
                assert found == meant
                remote = population.remote.get((vrf, single))
                if remote is not None and HERE not in remote.conflict:
                    assert found == ELSEWHERE

    def check_everywhere(self, slot: Slot) -> None:
        """A VRF that is left out of the tables would have been open to everything anyway."""
        policy = self.state.policy(slot)
        assert policy is not None
        whole = Reader(compile_policy(policy, self.state.inventory()).tables)
        source, destination = parse_prefix("10.0.0.1"), parse_prefix("192.0.2.1")
        for vrf in set(self.state.vrfs) - set(self.kernel.under_policy):
            for ends in ((source, destination), (destination, source)):
                one, other = (address(prefix) for prefix in ends)
                verdict = whole.verdict(vrf, one, other, Packet(4, 6, 80))
                assert verdict.allowed
                assert not verdict.logs


def address(prefix: Prefix):  # type: ignore[no-untyped-def]
    from ipaddress import ip_address

    return ip_address(prefix.packed)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_orders_lead_to_what_a_compilation_gives(script: list[tuple[object, ...]]) -> None:
    world = World()
    for step in script:
        world.step(step)
        world.check()
