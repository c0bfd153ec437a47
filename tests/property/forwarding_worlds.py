"""Next hops and routes in a fake kernel, and a program that acts on it and may be restarted."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from controlplane.model.desired import Delta, Desired, NextHop, NextHopKey, NextHopPath
from controlplane.model.prefix import Afi, Prefix
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import BLACKHOLE_IDS, Group, Member
from pe.model.state import Failures
from pe.netlink.ownership import BLACKHOLE
from tests.pe_fakes import FakeNextHops, FakeRoutes

DEVICES = {"core0": 1, "core1": 2, "ce0": 3, BLACKHOLE: 9}
GATEWAY = ip_address("10.0.1.2")
REMOTE = [NextHopKey(Afi.IPV4, ip_address(f"10.255.0.{n}"), 16000 + n) for n in (2, 3)]
LINK = NextHopKey(Afi.IPV4, None, device="ce0")
DISCARD = NextHopKey(Afi.IPV4, None)
CE = NextHopKey(Afi.IPV4, ip_address("192.0.2.2"), device="ce0")
KEYS = [*REMOTE, LINK, DISCARD, CE]
TABLES = (10, 11)
READY = dict.fromkeys(TABLES, True)
ROUTES = [Prefix(bytes((10, n, 0, 0)), 16) for n in range(6)]

PLAIN = {
    **{k: NextHop(k, (NextHopPath(GATEWAY, "core0", (17, k.label)),)) for k in REMOTE},
    LINK: NextHop(LINK, (NextHopPath(None, "ce0"),)),
    CE: NextHop(CE, (NextHopPath(CE.address, "ce0"),)),
    DISCARD: NextHop(DISCARD, ()),
}
"""Every key with the simplest way."""

paths = st.builds(
    NextHopPath, st.just(GATEWAY), st.sampled_from(("core0", "core1")),
    st.sampled_from(((17,), (18,))), st.sampled_from((1, 2)),
)  # fmt: skip


@st.composite
def next_hops(draw: Any, key: NextHopKey) -> NextHop:
    if key == LINK:
        return NextHop(key, (NextHopPath(None, "ce0"),))
    if key == CE:
        return NextHop(key, (NextHopPath(CE.address, "ce0"),))
    if key == DISCARD:
        return NextHop(key, ())
    found = draw(st.lists(paths, min_size=1, max_size=3, unique_by=lambda p: (p.device, p.labels)))
    return NextHop(
        key,
        tuple(NextHopPath(p.gateway, p.device, (*p.labels, key.label), p.weight) for p in found),
    )


@st.composite
def deltas(draw: Any) -> Delta:
    delta = Delta()
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        delta.next_hops[key] = draw(st.none() | next_hops(key))
    for table in draw(st.lists(st.sampled_from(TABLES), unique=True)):
        routes = st.dictionaries(st.sampled_from(ROUTES), st.none() | st.sampled_from(KEYS))
        delta.routes[table] = draw(routes)
    return delta


class World:
    """A kernel, and a program that acts on it and may be restarted."""

    def __init__(self) -> None:
        self.next_hops, self.routes = FakeNextHops(), FakeRoutes()
        self.next_hops.routes, self.routes.next_hops = self.routes, self.next_hops
        self.desired = Desired()
        self.now, self.resyncs = 0.0, False
        self.start()

    def start(self) -> None:
        self.failures = Failures()
        self.forwarding = FibManager(
            self.desired, self.next_hops, self.routes, self.failures, lambda *_: None
        )
        self.resync()

    def resync(self) -> None:
        self.forwarding.load(self.next_hops.dump(), self.routes.dump())

    def submit(self, delta: Delta) -> None:
        self.desired.apply(delta)
        self.forwarding.next_hops_changed(delta.next_hops)
        for table, routes in delta.routes.items():
            self.forwarding.routes.changed(table, routes)

    def act(self) -> None:
        self.forwarding.urgent(DEVICES, self.now)
        self.forwarding.converge_all(DEVICES, self.now)
        while self.forwarding.batch(READY, self.now) or self.forwarding.collect(self.now):
            self.routes_name_what_exists()

    def reread(self) -> None:
        self.forwarding.verify_devices(DEVICES.values())

    def take(self, step: Any) -> None:
        """A flap, a call that will fail, or a route that moves."""
        if isinstance(step, str):
            self.flap(*step.split())
        elif step[0] == "fail":
            _, (call, code), taken = step
            error = OSError(code, "injected")
            if call == "write":
                self.routes.fails.append((taken, error))
            elif call == "routes":
                self.routes.dump_fails = error
            else:
                self.next_hops.fails[call] = error
        else:
            self.submit(self.moved(*step))

    def turn(self) -> None:
        """One turn of the reconciler: what fails as a whole is read anew at the next one."""
        self.now += 1
        try:
            if self.resyncs:
                self.resync()
                self.resyncs = False
            self.reread()
            self.forwarding.urgent(DEVICES, self.now)
            self.forwarding.retry(self.now)
            self.act()
        except OSError:
            self.resyncs = True

    def calm_down(self) -> None:
        """Nothing fails any more, the ports are up, and time passes."""
        self.next_hops.fails.clear()
        self.routes.fails.clear()
        self.routes.dump_fails = None
        for device in ("ce0", "core0"):
            self.flap("up", device)
        self.failures.hurry()
        for _ in range(3):
            self.now += 20
            self.turn()

    def moved(self, prefix: Prefix, key: NextHopKey | None) -> Delta:
        """One route goes another way; a next hop is desired for as long as a route uses it."""
        routes = {**self.desired.routes.get(10, {}), prefix: key}
        used = {k for k in routes.values() if k}
        delta = Delta(routes={10: {prefix: key}})
        delta.next_hops.update(dict.fromkeys(self.desired.next_hops.keys() - used))
        delta.next_hops.update({k: PLAIN[k] for k in used - self.desired.next_hops.keys()})
        return delta

    def flap(self, way: str, device: str) -> None:
        """A port loses its carrier, and with it what leads there, or has it again."""
        if way == "down":
            self.next_hops.flush(DEVICES[device])
            self.next_hops.broken.add(DEVICES[device])
        else:
            self.next_hops.broken.discard(DEVICES[device])

    def routes_name_what_exists(self) -> None:
        for routes in self.routes.tables.values():
            assert set(routes.values()) <= self.next_hops.objects.keys()

    def meaning(self) -> dict[tuple[int, Prefix], object]:
        """Return what every route in the kernel does, without the ids."""
        return {
            (table, prefix): self.content(identifier)
            for table, routes in self.routes.tables.items()
            for prefix, identifier in routes.items()
        }

    def content(self, identifier: int) -> object:
        content = self.next_hops.objects[identifier]
        if isinstance(content, Group):
            members = [(i, w) for i, w in content.members if i not in BLACKHOLE_IDS]
            smallest = min((w for _, w in members), default=1)
            return frozenset((self.next_hops.objects[i], w // smallest) for i, w in members)
        return content

    def unexplained(self) -> set[int]:
        """Objects in the kernel that stand for nothing desired."""
        return (
            self.next_hops.objects.keys()
            - set(self.forwarding.groups.ids.owned())
            - BLACKHOLE_IDS.keys()
        )

    def wanted(self) -> dict[tuple[int, Prefix], object]:
        return {
            (table, prefix): meaning(self.desired.next_hops[key])
            for table, routes in self.desired.routes.items()
            for prefix, key in routes.items()
            if key in self.desired.next_hops
        }


def meaning(next_hop: NextHop) -> object:
    smallest = min((p.weight for p in next_hop.paths), default=1)
    members = frozenset(
        (Member(Afi.IPV4, DEVICES[p.device], p.gateway, p.labels), p.weight // smallest)
        for p in next_hop.paths
    ) or frozenset({(Member(Afi.IPV4, 0), 1)})
    return members if next_hop.key.address else next(iter(members))[0]
