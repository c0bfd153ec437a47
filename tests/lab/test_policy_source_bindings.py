"""An address is accepted from the port that it is bound to and from no other (SPF-3), with real
packets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from controlplane.model.prefix import IPAddress, host_prefix
from controlplane.model.source_bindings import ELSEWHERE, SourceBindings
from controlplane.model.verdict_tables import MapDelta
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.language.document import parse_policy
from pe.policy.program import TABLE
from tests.lab import policy_node as node
from tests.lab.agents import inside, until
from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import started

pytestmark = pytest.mark.lab

WEB, DB = ip_address("10.0.0.1"), ip_address("10.0.0.20")
WEB6, DB6 = ip_address("2001:db8::1"), ip_address("2001:db8::20")
ENDS = {4: (WEB, DB), 6: (WEB6, DB6)}
PORT = 5000
RULES = f"modes: {{default: full}}\nrules: [allow tier=web to tier=db on udp/{PORT}]"


@pytest.fixture(scope="module")
def process(world: World) -> Iterator[NodeProcess]:
    """A PE that allows web to db, in both VRFs, wherever they are."""
    workloads = [
        Workload(f"{tier}-{vrf}", vrf, "p", tuple(map(host_prefix, addresses)), {"tier": tier})
        for tier, addresses in (("web", (WEB, WEB6)), ("db", (DB, DB6)))
        for vrf in node.ZONES
    ]
    inventory = Inventory(frozenset(node.ZONES), tuple(workloads))
    process = started(compile_policy(parse_policy(RULES), inventory, IdAllocators()).tables)
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def sender(world: World, process: NodeProcess) -> Iterator[Sender]:
    node.forget_connections()
    yield Sender(world, process)
    process.segment("submit_bindings", SourceBindings())
    process.segment("settled")


class Sender:
    """Sends as web to db, from any place."""

    def __init__(self, world: World, process: NodeProcess) -> None:
        self._world, self._process, self._number = world, process, 0

    def bind(self, bindings: SourceBindings) -> None:
        """Bind addresses to ports."""
        self._process.segment("submit_bindings", bindings)
        self._process.segment("settled")

    def packet(self, version: int, sport: int, source: IPAddress | None) -> bytes:
        """The next packet, of a flow of its own unless it has a source port."""
        self._number += 1
        web, db = ENDS[version]
        ports = {"sport": sport or 10_000 + self._number, "dport": PORT}
        return node.packet(source or web, db, 17, **ports, number=self._number)

    def passes(
        self, where: str = "a", version: int = 4, *, sport: int = 0, source: IPAddress | None = None
    ) -> bool:
        """Whether one packet from a host, or from the core into red, arrives in its VRF."""
        packet = self.packet(version, sport, source)
        world, ports = self._world, self._world.ports
        core = where == "core"
        frame = world.from_core("red", packet) if core else world.from_host(where, packet)
        sink = node.SINK["red" if core else node.HOSTS[where]]
        ports[where].send([frame])
        return self._number.to_bytes(4, "big") in ports[sink].received()

    def spoofed(self, vrf: str = "red") -> int:
        """What the counter says."""
        counters: dict[str, int] = self._process.call("segment.counters")
        return counters[f"spoofed_{node.ZONES[vrf]}"]


def bound(port: str, vrf: str = "red") -> SourceBindings:
    """Both of web's addresses, bound to a port."""
    return SourceBindings(bindings4={(vrf, WEB.packed): port}, bindings6={(vrf, WEB6.packed): port})


@pytest.mark.parametrize("version", [4, 6])
def test_a_workload_is_accepted_from_its_own_port(sender: Sender, version: int) -> None:
    sender.bind(bound("pe-a"))
    before = sender.spoofed()
    assert sender.passes("a", version)
    assert sender.spoofed() == before


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("port", ["pe-b", ELSEWHERE, "not-there"])
def test_spf_03_the_port_that_it_left_does_not_speak_for_it(
    sender: Sender, version: int, port: str
) -> None:
    assert sender.passes("a", version), "control: without a binding the address is enough"
    sender.bind(bound(port))
    before = sender.spoofed()
    assert not sender.passes("a", version)
    assert sender.spoofed() == before + 1
    sender.bind(bound("pe-a"))
    assert sender.passes("a", version), "control: back at its port"


@pytest.mark.parametrize("version", [4, 6])
def test_at_its_port_it_takes_the_shorter_way(
    sender: Sender, process: NodeProcess, version: int
) -> None:
    sender.bind(bound("pe-a"))
    process.pause()
    try:
        inside("pe", f"nft flush map inet {TABLE.name} binding_ports")
        assert sender.passes("a", version), "the longer way would refuse it now"
        inside("pe", f"nft flush map inet {TABLE.name} port_bindings{version}")
        assert not sender.passes("a", version), "control: the longer way does"
    finally:
        process.resume()
    assert until(lambda: sender.passes("a", version), 5.0), "put right"


@pytest.mark.parametrize("version", [4, 6])
def test_spf_03_not_even_on_a_connection_that_it_opened_there(sender: Sender, version: int) -> None:
    sender.bind(bound("pe-a"))
    assert sender.passes("a", version, sport=77)
    assert sender.passes("a", version, sport=77)
    sender.bind(bound(ELSEWHERE))
    assert not sender.passes("a", version, sport=77)


@pytest.mark.parametrize("version", [4, 6])
def test_from_the_core_comes_what_is_bound_elsewhere_and_nothing_that_is_bound_here(
    sender: Sender, version: int
) -> None:
    assert sender.passes("core", version), "control: a PE of the same VPN"
    sender.bind(bound(ELSEWHERE))
    assert sender.passes("core", version)
    sender.bind(bound("pe-a"))
    before = sender.spoofed()
    assert not sender.passes("core", version)
    assert sender.spoofed() == before + 1


def test_another_vrf_has_bindings_of_its_own(sender: Sender) -> None:
    sender.bind(bound("pe-a", "blue"))
    before = sender.spoofed("blue")
    assert not sender.passes("c")
    assert sender.spoofed("blue") == before + 1
    assert sender.passes("a"), "it is not bound in red"


def test_of_several_prefixes_the_longest_says_where(sender: Sender) -> None:
    first, last = ip_address("10.0.0.0"), ip_address("10.0.0.7")
    network = {("red", first.packed, last.packed): "pe-b"}
    sender.bind(SourceBindings(binding_ranges4=network))
    assert not sender.passes("a")
    assert sender.passes("b")
    sender.bind(SourceBindings(binding_ranges4=network, bindings4={("red", WEB.packed): "pe-a"}))
    assert sender.passes("a")
    assert not sender.passes("b")


@pytest.mark.parametrize("version", [4, 6])
def test_a_move_is_a_change_of_two_elements(
    sender: Sender, process: NodeProcess, version: int
) -> None:
    sender.bind(bound("pe-a"))
    repairs = process.call("segment.repairs")
    for port, passes in (("pe-b", False), ("pe-a", True), (ELSEWHERE, False), ("pe-a", True)):
        _move(process, version, port)
        process.segment("settled")
        assert sender.passes("a", version) is passes, port
    assert process.call("segment.repairs") == repairs


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("last", ["pe-a", "pe-b"])
def test_four_moves_without_a_pause_end_where_the_last_one_leads(
    sender: Sender, process: NodeProcess, version: int, last: str
) -> None:
    """A virtual address that two hosts take from each other looks like this."""
    sender.bind(bound("pe-a"))
    assert sender.passes("a", version, sport=99)
    for port in ("pe-b", "pe-a", ELSEWHERE, last):
        _move(process, version, port)
    process.segment("settled")
    assert sender.passes("a", version, sport=99) is (last == "pe-a"), "the flow of before"
    assert sender.passes("a", version) is (last == "pe-a"), "a new one"
    assert sender.passes("b", version) is (last == "pe-b")


def _move(process: NodeProcess, version: int, port: str) -> None:
    key = ("red", ENDS[version][0].packed)
    process.segment(
        "submit_bindings_delta", {f"bindings{version}": MapDelta(frozenset({key}), {key: port})}
    )


def test_an_address_that_is_not_bound_is_left_to_the_policy(sender: Sender) -> None:
    sender.bind(bound("pe-b"))
    before = sender.spoofed()
    assert not sender.passes("a", source=ip_address("10.0.0.9")), "no rule allows it"
    assert sender.spoofed() == before
