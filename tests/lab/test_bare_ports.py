"""CE ports without Ethernet headers: they carry their VPN, behind the same guard as others.

The red CE's link at PE 1 is deleted and made again as another kind of device under the same name.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from controlplane.model.desired import Delta
from controlplane.model.prefix import parse_prefix
from controlplane.model.speaker_user import FIRST_UID, speaker_uid
from labs.attack import ip
from labs.attack.inside import socket_in
from labs.attack.ip import Header
from labs.attack.link import labelled
from tests.lab.agents import (
    VPN_LABEL,
    VRFS,
    AgentProcess,
    Witness,
    ce_name,
    desired,
    founding_world,
    host,
    mac,
    reaches,
    run,
    session,
    shoot,
    site,
    until,
)
from tests.lab.tunnels import (
    CE,
    CE_END,
    MAKERS,
    MANAGEMENT,
    PE_END,
    PORT,
    in_its_place,
    management_link,
    send,
)

pytestmark = pytest.mark.lab

FAR, NEIGHBOUR_VPN = ce_name("pe2", "red"), ce_name("pe1", "blue")
BARE = ("tun", "gre", "gre-loopback", "wireguard")
MPLS, TAGGED = 0x8847, 0x8100
OWN = {4: "10.1.0.77", 6: "2001:db8:1::77"}
SPOOFED = {4: "203.0.113.9", 6: "2001:db8:77::9"}
COPIES = 5


def red_sources() -> Delta:
    """PE 1, whose red port takes its site's sources only, and has a BGP session."""
    delta = desired("pe1")
    port = delta.ce_ports[PORT]
    assert port is not None
    sources = tuple(map(parse_prefix, site("pe1")))
    delta.ce_ports[PORT] = msgspec.structs.replace(port, sources=sources)
    spoken = session("pe1", "red")
    delta.sessions[spoken.peer] = spoken
    assert delta.node is not None
    delta.node = msgspec.structs.replace(delta.node, speaker_uids=FIRST_UID)
    return delta


class World:
    """The founding world with an agent at each PE; that of PE 1 may be started anew."""

    def __init__(self) -> None:
        self.far = _agent("pe2", desired("pe2"))
        self.pe = _agent("pe1", red_sources())
        self.witness = Witness(FAR)

    @contextmanager
    def without(self, *guards: str) -> Iterator[None]:
        """PE 1 without some guards, for a control."""
        self._start_anew(frozenset(guards))
        try:
            yield
        finally:
            self._start_anew(frozenset())

    def _start_anew(self, off: frozenset[str]) -> None:
        self.pe.stop()
        self.pe = _agent("pe1", red_sources(), off)
        assert until(self.is_whole)

    def is_whole(self) -> bool:
        """True if both sites of red reach each other, in both families."""
        pairs = ((CE, "pe2"), (FAR, "pe1"))
        return all(reaches(ce, host(pe, v)) for ce, pe in pairs for v in (4, 6))

    def count(self, counter: str) -> int:
        return self.pe.counters().get(counter, 0)

    def dropped(self, counter: str, packet: bytes, protocol: int = 0) -> bool:
        """True if PE 1 counts each copy of the packet under this counter."""
        before = self.count(counter)
        for _ in range(COPIES):
            send(packet, protocol)
        return until(lambda: self.count(counter) == before + COPIES, 5)


def _agent(pe: str, delta: Delta, off: frozenset[str] = frozenset()) -> AgentProcess:
    spare = frozenset({MANAGEMENT})
    agent = AgentProcess(pe, check_seconds=1, spare_ports=spare, disabled_guards=off)
    agent.apply(delta)
    agent.call("mark_in_sync")
    agent.call("settled")
    return agent


@pytest.fixture(scope="module")
def founded() -> Iterator[World]:
    with founding_world():
        management_link()
        world = World()
        try:
            assert until(world.is_whole), world.pe.call("failures")
            yield world
        finally:
            world.pe.stop()
            world.far.stop()


@pytest.fixture(scope="module", params=list(MAKERS))
def kind(founded: World, request: pytest.FixtureRequest) -> Iterator[str]:
    kind: str = request.param
    with in_its_place(kind):
        assert until(founded.is_whole), (kind, founded.pe.call("failures"))
        yield kind


def udp(source: str, target: str) -> bytes:
    return ip.udp(source, target, Witness.PORT, b"bare")


def test_the_port_is_up_and_guarded(founded: World, kind: str) -> None:
    state = founded.pe.call("ports")[PORT]
    assert (state.up, state.guarded) == (True, True), kind
    assert founded.pe.call("failures") == ()
    listed = run("ip netns exec pe1 nft list chain netdev bulkhead ce_pe1-red")
    assert ("meta protocol" in listed) == (kind in BARE)
    assert ("ether type" in listed) == (kind not in BARE)


@pytest.mark.parametrize("version", [4, 6])
def test_sources_of_other_sites_in_a_tunnel_are_dropped(
    founded: World, kind: str, version: int
) -> None:
    target, witness = host("pe2", version), founded.witness
    send(udp(OWN[version], target))
    assert until(witness.saw), "control: the site's own source passes"
    spoofed = udp(SPOOFED[version], target)
    assert founded.dropped("spf_02__pe1-red", spoofed)
    assert founded.dropped("acl_05__pe1-red", udp("10.255.0.1", host("pe2", 4)))
    assert founded.dropped("spf_01__pe1-red", udp("127.0.0.1", host("pe2", 4)))
    assert not witness.saw()
    with founded.without("edge"):
        send(spoofed)
        assert until(witness.saw), "control: without the guard it passes"


def test_a_label_in_a_tunnel_of_a_ce_is_dropped(founded: World, kind: str) -> None:
    """Not even in a tag of VID 0, which the kernel takes off before any hook."""
    if kind == "wireguard":
        pytest.skip("WireGuard carries nothing but IP packets")
    blue = Witness(NEIGHBOUR_VPN)
    inner = udp(OWN[4], host("pe1", 4))
    frame = labelled([VPN_LABEL["pe1", "blue"]], inner)
    tagged = struct.pack("!HH", 0, MPLS) + frame
    assert founded.dropped("lbl_06__pe1-red", frame, MPLS)
    assert founded.dropped("lbl_06__pe1-red", tagged, TAGGED)
    assert not blue.saw()
    if kind == "tun":  # of which the kernel takes no labels at all (mpls_dev_notify)
        return
    with founded.without("edge", "label-input"):
        for packet, protocol in ((frame, MPLS), (tagged, TAGGED)):
            send(packet, protocol)
            assert until(blue.saw), f"control: without the guards {protocol:#x} passes"


@contextmanager
def listening(kind: socket.SocketKind, port: int) -> Iterator[socket.socket]:
    """A socket of the VRF at the PE's own address."""
    with socket_in("pe1", kind=kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"red")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("192.168.1.1", port))
        sock.settimeout(2)
        if kind is socket.SOCK_STREAM:
            sock.listen()
        yield sock


def connects(source: str, ttl: int) -> bool:
    with socket_in(CE) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        sock.bind((source, 0))
        sock.settimeout(1.5)
        try:
            sock.connect(("192.168.1.1", 179))
        except OSError:
            return False
        return True


def test_nothing_but_its_bgp_session_and_pings_reaches_the_pe(founded: World, kind: str) -> None:
    assert reaches(CE, "192.168.1.1") == reaches(NEIGHBOUR_VPN, "192.168.1.1"), "as on Ethernet"
    run(f"ip -n {CE} addr add 192.168.1.3/24 dev up0")
    with listening(socket.SOCK_STREAM, 179):
        assert connects("192.168.1.2", 255), "control: the session's own connection"
        assert not connects("192.168.1.2", 64), "GTSM"
        assert not connects("192.168.1.3", 255), "no session"
    run(f"ip -n {CE} addr delete 192.168.1.3/24 dev up0")
    packet = udp("192.168.1.4", "192.168.1.1")
    with listening(socket.SOCK_DGRAM, Witness.PORT) as sock:
        assert founded.dropped("acl_01__red", packet)
        piece = ip.packet("192.168.1.4", "192.168.1.1", 17, bytes(64), Header(more=True, ident=7))
        assert founded.dropped("cpp_02__pe1-red", piece)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    with founded.without("input"), listening(socket.SOCK_DGRAM, Witness.PORT) as sock:
        send(packet)
        assert sock.recv(100), f"control: without the guard it arrives over {kind}"


SPEAK = """
import socket, sys
kind, device, address, port = sys.argv[1:]
with socket.socket(type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    sock.settimeout(3)
    sock.connect((address, int(port)))
    sock.send(b"speak")
"""


def speaks(*words: str) -> bool:
    """True if a process with the user of red's BGP process can send."""
    user = f"--reuid={speaker_uid(FIRST_UID, 'pe1', 'red')}"
    command = ["ip", "netns", "exec", "pe1", "setpriv", user, "--clear-groups"]
    python = [sys.executable, "-I", "-S", "-c", SPEAK]
    return subprocess.run([*command, *python, *words], check=False, timeout=30).returncode == 0


def test_a_bgp_process_speaks_over_it_and_not_beside_it(founded: World, kind: str) -> None:
    """The packet of a tunnel in which the process's own leaves has its socket."""
    with socket_in(CE) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sock.bind(("192.168.1.2", 179))
        sock.listen()
        assert speaks("tcp", "red", "192.168.1.2", "179"), kind
    beside, before = Witness(CE), founded.count("bgp_14")
    words = ("udp", "", CE_END, str(Witness.PORT))
    speaks(*words)
    assert until(lambda: founded.count("bgp_14") > before)
    assert not beside.saw()
    with founded.without("speakers"):
        assert speaks(*words)
        assert until(beside.saw), "control: without the guard it leaves"


def test_nothing_under_a_label_leaves_as_a_packet_of_the_node(founded: World, kind: str) -> None:
    """Red's table leads a packet from the core, with the node's address, to the management port."""
    astray, target, beside = "203.0.113.50", CE_END, Witness(CE)
    packet = udp(PE_END, astray)
    frame = mac("pe1", "core0") + mac("p", "p-pe1") + struct.pack("!H", MPLS)
    frame += labelled([VPN_LABEL["pe1", "red"]], packet)
    table = str(VRFS["red"])
    run(f"ip -n pe1 route add {astray} via {target} dev {MANAGEMENT} onlink table {table}")
    try:
        before = founded.count("iso_15")
        shoot("p", "p-pe1", *[frame] * COPIES)
        assert until(lambda: founded.count("iso_15") == before + COPIES), kind
        assert not beside.saw()
        assert founded.is_whole(), "the tunnel's own packets leave by that port"
        with founded.without("ways-out"):
            shoot("p", "p-pe1", frame)
            assert until(beside.saw), "control: without the guard it leaves"
    finally:
        run(f"ip -n pe1 route delete {astray} table {table}")


def test_a_tunnel_without_a_remote_end_is_refused(founded: World) -> None:
    """Not of the module's kinds: it deletes and makes the port itself."""
    run(f"ip -n pe1 link delete {PORT}")
    run(f"ip -n pe1 link add {PORT} type gre local {PE_END}")
    assert until(lambda: "no remote address" in _reason(founded)), founded.pe.call("failures")
    assert not founded.pe.call("ports")[PORT].guarded
    run(f"ip -n pe1 link set {PORT} up")
    assert until(lambda: "UP" not in run(f"ip -n pe1 link show {PORT}").partition(">")[0])
    assert "master" not in run(f"ip -n pe1 link show {PORT}")
    with in_its_place("veth"):
        assert until(founded.is_whole), founded.pe.call("failures")
        assert _reason(founded) == "", "the control"


def _reason(world: World) -> str:
    return "".join(
        f.message for f in world.pe.call("failures") if (f.kind, f.key) == ("port", PORT)
    )
