"""A large policy takes more turns than a small one, not longer ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from controlplane.model.attachment import Attachment
from controlplane.model.prefix import host_prefix
from controlplane.model.revision import Signature
from controlplane.model.workload import Workload
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.orders import Order
from controlplane.policy.state import PolicyState
from tests.scale.work import lines

SIGNED = Signature("ada", 1.0, "")
SMALL, LARGE = 16, 64
"""Groups; each has five rules and ten workloads."""


def document(groups: int, port: int) -> str:
    found = [f"  g{n}: {{id: {n + 1}, selector: app=a{n}}}" for n in range(groups)]
    rules = [
        f"  - allow g{n} to g{(n + step) % groups} on tcp/{port + step}"
        for n in range(groups)
        for step in range(5)
    ]
    return "\n".join(["groups:", *found, "rules:", *rules])


def attachment(number: int, groups: int) -> Attachment:
    address = host_prefix(IPv4Address(0x0A000000 + number))
    tags = {"app": f"a{number % groups}"}
    return Attachment(Workload(f"w{number}", f"v{number % 4}", "p", (address,), tags), 1, 0.0)


class World:
    """A policy state, and the lines that each turn ran."""

    def __init__(self, groups: int) -> None:
        self.attachments = [attachment(n, groups) for n in range(10 * groups)]
        named = {each.workload.name: each for each in self.attachments}
        self.state = PolicyState(EndpointRegistry(named), Ledger())
        self.turns: list[int] = []
        self.zones = {f"v{n}": n + 1 for n in range(4)}
        self.groups = groups

    def do(self, first: Callable[[], Sequence[Order] | None]) -> list[int]:
        """A change and all turns that it takes."""
        turns = [lines(first)]
        while self.state.is_busy:
            turns.append(lines(self.state.work))
        return turns

    def story(self) -> dict[str, list[int]]:
        """The turns of all that compiles a policy as a whole."""
        state, found = self.state, dict[str, list[int]]()
        state.set_vrfs(self.zones)
        found["begin"] = self.do(state.begin)
        for port in (1000, 2000):
            ledger, revision = state.ledger.with_draft(
                Revision.of(parse_policy(document(self.groups, port)))
            )
            staged = ledger.stage(revision.digest, SIGNED)
            found[f"stage {port}"] = self.move(staged)
            found[f"promote {port}"] = self.move(staged.promote(SIGNED))
        found["a VRF leaves"] = self.do(lambda: state.set_vrfs({"v0": 1, "v1": 2, "v2": 3}))
        found["a VRF comes"] = self.do(lambda: state.set_vrfs(self.zones))
        return found

    def move(self, ledger: Ledger) -> list[int]:
        prepared = self.do(lambda: self.state.tables.prepare(ledger))
        return [*prepared, *self.do(lambda: self.state.take_ledger(ledger))]


def test_the_longest_turn_does_not_grow_with_the_policy() -> None:
    small, large = World(SMALL).story(), World(LARGE).story()
    most = max(max(turns) for turns in small.values())
    for what, turns in large.items():
        assert max(turns) <= 1.5 * most, what
    for what in ("stage 1000", "stage 2000", "a VRF leaves", "a VRF comes"):
        assert sum(large[what]) >= 3 * sum(small[what]), "the control: it is more work"
        assert max(large[what]) <= sum(large[what]) / 4, what


def test_the_first_endpoint_in_a_vrf_scans_no_other_vrf() -> None:
    """All endpoints were looked through for it, and all rules once for each VRF."""

    def of_leaving(groups: int) -> int:
        world = World(groups)
        world.state.set_vrfs(world.zones)
        world.do(world.state.begin)
        return lines(lambda: world.state.detach("w0", 0.0))

    assert of_leaving(LARGE) <= 1.2 * of_leaving(SMALL)
