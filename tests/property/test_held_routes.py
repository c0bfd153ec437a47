"""Routes that wait for identities: after any events meanwhile, the kernel ends up the same."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from random import Random

import pytest

from controlplane.model.attributes import Nlri
from controlplane.model.events import (
    Event,
    IntentChanged,
    PolicyMapsHeld,
    PolicyMapsRefused,
    RoutesReceived,
    RoutesWithdrawn,
    StoreWritten,
    TimePassed,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.prefix import parse_prefix
from controlplane.model.rd import parse_rd
from tests.turns import decide, saves_of
from tests.unit.controlplane.rig import PE2, PE3, VPN4, Rig, node, pe_peer, vpn_attributes, vrf

PREFIXES = [parse_prefix(f"10.9.0.{n}/32") for n in range(2)]
RD = parse_rd("65001:1")
PEERS = (PE2, PE3)
INTENTS = [
    node(vrf("red", 1), vrf("blue", 2), peers=map(pe_peer, PEERS)),
    node(vrf("red", 1), peers=map(pe_peer, PEERS)),
    node(vrf("red", 2), vrf("blue", 1), peers=map(pe_peer, PEERS)),
]

GROUPS = [(), (0,), (7,)]
"""None, in no group, and in one that no revision knows: three identities."""


def step_of(rng: Random) -> tuple[object, ...]:
    kind = rng.randrange(10)
    if kind < 6:
        return (
            "announce", rng.choice(PEERS), rng.choice(PREFIXES), rng.choice(GROUPS),
            rng.choice([300, 301]), rng.choice([1, 1, 1, 2]),
        )  # fmt: skip
    if kind == 6:
        return ("withdraw", rng.choice(PEERS), rng.choice(PREFIXES))
    if kind == 7:
        return ("reload", rng.choice(INTENTS)) if rng.randrange(3) == 0 else ("wait",)
    return ("refuse",) if rng.randrange(4) == 0 else ("hold",)


class World:
    """A router whose policy maps are acknowledged at once, or when the script says so."""

    def __init__(self, *, slow: bool) -> None:
        self.rig = Rig(vrf("red", 1), vrf("blue", 2), peers=map(pe_peer, PEERS)).ready()
        self.rig.up(PE3)
        self.rig.underlay("10.0.0.3", to="10.255.0.3/32")
        self.rig.started()
        self.slow, self.now = slow, self.rig.now
        self.router, self.kernel = self.rig.router, self.rig.kernel

    def do(self, *events: Event) -> None:
        instant = Instant(self.now, self.now, BootTime("b", self.now))
        if not self.slow:
            self.kernel.apply(decide(self.router, events, instant).delta)
            return
        effects = self.router.handle(events, instant)
        self.kernel.apply(effects.delta)
        while saves_of(effects):
            effects = self.router.handle([StoreWritten()], instant)
            self.kernel.apply(effects.delta)

    def step(self, step: tuple[object, ...]) -> None:
        number = self.router.policy.maps.number
        match step:
            case ("announce", peer, prefix, groups, label, target):
                large = tuple((65000, 1, group) for group in groups)  # type: ignore[attr-defined]
                said = vpn_attributes(f"65000:{target}", large_communities=large)
                nlri = [Nlri(prefix, RD, (label,))]  # type: ignore[arg-type]
                self.do(RoutesReceived(peer, VPN4, peer.address, said, nlri))  # type: ignore
            case ("withdraw", peer, prefix):
                self.do(RoutesWithdrawn(peer, VPN4, [Nlri(prefix, RD)]))  # type: ignore[arg-type]
            case ("reload", intent):
                self.do(IntentChanged(intent))  # type: ignore[arg-type]
            case ("hold",):
                self.do(PolicyMapsHeld(number))
            case ("refuse",):
                self.do(PolicyMapsRefused(number, "no memory"))
            case ("wait",):
                self.now += 30
                self.do(TimePassed())

    def check(self) -> None:
        used = {hop for routes in self.kernel.routes.values() for hop in routes.values()}
        assert used <= self.kernel.next_hops.keys(), "a route without its next hop"


@pytest.mark.parametrize("seed", range(60))
def test_the_kernel_ends_up_the_same(seed: int) -> None:
    rng, quick, slow = Random(seed), World(slow=False), World(slow=True)
    for _ in range(60):
        step = step_of(rng)
        for world in (quick, slow):
            world.step(step)
            world.check()
    slow.step(("hold",))
    assert slow.kernel == quick.kernel
    assert not slow.router.policy.maps.is_waiting
