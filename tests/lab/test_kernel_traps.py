"""The kernel's traps (T1 to T16), one attack each: it arrives with every guard off, and does not
with its own guard alone on, nor with all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from controlplane.model.desired import Delta
from controlplane.model.prefix import Afi, parse_prefix
from labs.packets import ETH_IP, ETH_IPV6, ETH_MPLS, ethernet, stack, udp
from pe.model.guards import Guard
from tests.lab.agents import (
    VPN_LABEL,
    AgentProcess,
    Witness,
    ce_name,
    desired,
    founding_world,
    host,
    inside,
    mac,
    nft,
    reaches,
    remote_hop,
    run,
    shoot,
    wire,
)

RED, BLUE = ce_name("pe1", "red"), ce_name("pe1", "blue")
FAR_RED = ce_name("pe2", "red")
ALL = frozenset(guard.value for guard in Guard)
PORT = Witness.PORT


@dataclass
class World:
    pe1: AgentProcess
    pe_mac: bytes
    ce_mac: bytes

    def from_red(self, kind: int, payload: bytes, vlans: tuple[int, ...] = ()) -> None:
        shoot(RED, "up0", ethernet(self.pe_mac, self.ce_mac, kind, payload, vlans))


@contextmanager
def world(disabled: frozenset[str], **options: object) -> Iterator[World]:
    """The founding world; pe1 with these guards off, red and blue with limits, pe2 whole."""
    with founding_world():
        agents = [
            AgentProcess("pe1", disabled_guards=disabled, neighbours=16, check_seconds=600),
            AgentProcess("pe2"),
        ]
        try:
            agents[0].apply(desired("pe1", conntrack_limit=20))
            far = desired("pe2")
            # For the attacks on the PE's own address and on its link, from the other end.
            hop = remote_hop("pe2", "red", Afi.IPV4)
            far.routes[1001][parse_prefix("192.168.1.0/24")] = hop.key
            agents[1].apply(far)
            yield World(agents[0], mac("pe1", "pe1-red"), mac(RED, "up0"))
        finally:
            for agent in agents:
                agent.stop()


def label_to_blue(w: World, *vlans: int) -> bool:
    """LBL-1, LBL-2: red sends a packet with blue's label."""
    victim = Witness(BLUE)
    packet = stack(VPN_LABEL["pe1", "blue"]) + udp(host("pe2", 4), host("pe1", 4), PORT)
    w.from_red(ETH_MPLS, packet, vlans)
    return victim.saw()


def label_with_priority_tag(w: World) -> bool:
    return label_to_blue(w, 0)


def table_miss_4(w: World) -> bool:
    """T1: a packet to the core that no route of the VRF matches."""
    victim = Witness("p")
    w.from_red(ETH_IP, udp(host("pe1", 4), "10.0.1.2", PORT))
    return victim.saw()


def table_miss_6(w: World) -> bool:
    victim = Witness("p")
    w.from_red(ETH_IPV6, udp(host("pe1", 6), "fc00:1::2", PORT))
    return victim.saw()


def loopback_of_the_pe(w: World) -> bool:
    """T2: the CE pings the PE's address in the core."""
    return reaches(RED, "10.255.0.1")


def same_five_tuple(w: World) -> bool:
    """T4: blue sends what is a connection of red's."""
    nft(
        "pe1",
        "inet probe",
        "counter known { } ; chain f { type filter hook forward priority 10; "
        'iifname "blue" ct state established counter name known; }',
    )
    assert reaches(RED, host("pe2", 4), 3, "-e 77")  # both ways: established, in red's zone
    inside(BLUE, f"ping -n -q -c 1 -W 1 -e 77 {host('pe2', 4)}", check=False)
    return "packets 0 " not in inside("pe1", "nft list counter inet probe known")


def explicit_null(w: World) -> bool:
    """T9: label 0 from the core, for an address of the PE."""
    nft(
        "pe1",
        "inet probe",
        "counter null { } ; chain f { type filter hook prerouting priority "
        f'-1000; iifname "lo" udp dport {PORT} counter name null; }}',
    )
    packet = stack(0) + udp("10.9.9.9", "10.255.0.1", PORT)
    shoot("p", "p-pe1", ethernet(mac("pe1", "core0"), mac("p", "p-pe1"), ETH_MPLS, packet))
    return "packets 0 " not in inside("pe1", "nft list counter inet probe null")


def record_route(w: World) -> bool:
    """T12: IPv4 options make the PE write down its core address."""
    nft(
        FAR_RED,
        "inet probe",
        "counter options { } ; chain f { type filter hook prerouting priority -1000; "
        "ip hdrlength > 5 counter name options; }",
    )
    reaches(RED, host("pe2", 4), 1, "-R")
    return "packets 0 " not in inside(FAR_RED, "nft list counter inet probe options")


def who_has_the_loopback(w: World) -> bool:
    """T13: the PE answers ARP for an address that is not the port's."""
    run(f"ip -n {RED} route add 10.255.0.1/32 dev up0")
    reaches(RED, "10.255.0.1")
    return "lladdr" in run(f"ip -n {RED} neigh show 10.255.0.1")


def scan(w: World) -> bool:
    """T14: a scan of red's link fills the neighbour table that blue needs, too."""
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"s.bind(('{host('pe2', 4)}', 0));"
        "[s.sendto(b'x', (f'192.168.1.{n}', 9)) for n in range(10, 110)]"
    )
    inside(FAR_RED, f'python3 -c "{code}"')
    return len(run("ip -n pe1 neigh show dev pe1-red").splitlines()) > 50


def flood_of_flows(w: World) -> bool:
    """T15: red opens more connections than its share of the table."""
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"s.bind(('{host('pe1', 4)}', 0));"
        f"[s.sendto(b'x', ('{host('pe2', 4)}', 10000 + n)) for n in range(100)]"
    )
    inside(RED, f'python3 -c "{code}"')
    return int(inside("pe1", "conntrack -C").split()[-1]) > 50


def unconfigured_port(w: World) -> bool:
    """T16, FAIL-1: a device that is up and in no VRF is in the global table."""
    wire("pe1", "stray", BLUE, "stray0")
    run("ip -n pe1 link set stray up")
    run("ip -n pe1 addr add 172.16.0.1/24 dev stray")
    run(f"ip -n {BLUE} link set stray0 up")
    run(f"ip -n {BLUE} addr add 172.16.0.2/24 dev stray0")
    return reaches(BLUE, "172.16.0.1")


def address_of_the_pe_from_afar(w: World) -> bool:
    """HIDE-7, T11: a remote site reaches the PE's own address in its VRF."""
    return reaches(FAR_RED, "192.168.1.1", 2, f"-I {host('pe2', 4)}")


def spoofed_core_source(w: World) -> bool:
    """ACL-5: red claims to be the PE's own loopback."""
    victim = Witness(FAR_RED)
    w.from_red(ETH_IP, udp("10.255.0.1", host("pe2", 4), PORT))
    return victim.saw()


def dead_ttl(w: World) -> bool:
    """HIDE-2: an inner TTL of 1 leaves at the label's end as 0."""
    nft(
        RED,
        "netdev probe",
        "counter dead { } ; chain f { type filter hook ingress device up0 "
        "priority 0; ether type ip ip ttl 0 counter name dead; }",
    )
    packet = stack(VPN_LABEL["pe1", "red"]) + udp(host("pe2", 4), host("pe1", 4), PORT, ttl=1)
    shoot("p", "p-pe1", ethernet(mac("pe1", "core0"), mac("p", "p-pe1"), ETH_MPLS, packet))
    return "packets 0 " not in inside(RED, "nft list counter netdev probe dead")


# The attack, the guards that stop it each on its own, and the counter that says so.
ATTACKS: dict[str, tuple[Callable[[World], bool], tuple[Guard, ...], str]] = {
    "label": (label_to_blue, (Guard.EDGE, Guard.LABEL_INPUT), "lbl_06__pe1-red"),
    "label-vid0": (label_with_priority_tag, (Guard.EDGE, Guard.LABEL_INPUT), "lbl_06__pe1-red"),
    "miss-4": (table_miss_4, (Guard.LAST_RESORT,), ""),
    "miss-6": (table_miss_6, (Guard.LAST_RESORT,), ""),
    "loopback": (loopback_of_the_pe, (Guard.INPUT,), ""),
    "five-tuple": (same_five_tuple, (Guard.ZONES,), ""),
    "null": (explicit_null, (Guard.EXPLICIT_NULL,), "lbl_07__core0"),
    "record-route": (record_route, (Guard.EDGE,), "hide_04__pe1-red"),
    "who-has": (who_has_the_loopback, (Guard.PORT_SYSCTLS,), ""),
    "scan": (scan, (Guard.ON_LINK,), "dos_02__pe1-red"),
    "stray": (unconfigured_port, (Guard.UNKNOWN_PORT, Guard.INPUT), "fail_01"),
    "from-afar": (address_of_the_pe_from_afar, (Guard.INPUT,), "hide_07__red"),
    "core-source": (spoofed_core_source, (Guard.EDGE,), "acl_05__pe1-red"),
    "ttl": (dead_ttl, (Guard.EGRESS,), "hide_02__pe1-red"),
    # The last: red's share of connections is used up by it.
    "flows": (flood_of_flows, (Guard.LIMITS,), "dos_01__red"),
}


# Attacks that another thing than their guard would stop, were that switched off as well: in
# uniform mode no TTL is left at 1, and behind the first rule the node's own address is martian.
# Without zones and limits there is no connection tracking to fill.
NEEDS = {
    "ttl": {Guard.PIPE_MODE},
    "core-source": {Guard.LOCAL_RULE, Guard.LAST_RESORT},
    "flows": {Guard.ZONES},
}
KEPT = {guard.value for guards in NEEDS.values() for guard in guards}


def test_every_attack_arrives_without_guards() -> None:
    with world(ALL) as w:
        attacks = {name: attack for name, (attack, _, _) in ATTACKS.items() if name not in NEEDS}
        arrived = {name: attack(w) for name, attack in attacks.items()}
    with world(ALL - KEPT) as w:
        arrived |= {name: ATTACKS[name][0](w) for name in NEEDS}
    assert [name for name, came in arrived.items() if not came] == []


def test_no_attack_arrives_with_all_guards_and_each_is_counted() -> None:
    with world(frozenset()) as w:
        for version in (4, 6):  # what is allowed is
            assert reaches(RED, host("pe2", version))
            assert reaches(BLUE, host("pe2", version))
        for name, (attack, _, counter) in ATTACKS.items():
            before = w.pe1.counters()
            assert not attack(w), name
            if counter:
                assert w.pe1.counters()[counter] > before[counter], name
        assert reaches(BLUE, host("pe2", 4))  # which red's flood has not hurt


@pytest.mark.parametrize("guard", sorted({g.value for _, gs, _ in ATTACKS.values() for g in gs}))
def test_each_guard_stops_its_attacks_alone(guard: str) -> None:
    with world(ALL - KEPT - {guard}) as w:
        for name, (attack, guards, _) in ATTACKS.items():
            if guard in {g.value for g in guards}:
                assert not attack(w), name


def test_the_local_rule_and_the_last_resort_hide_the_loopback_together() -> None:
    """T2 needs both: behind the l3mdev rule, a table without an end still falls through."""
    kept = {Guard.LOCAL_RULE.value, Guard.LAST_RESORT.value}
    with world(ALL - kept) as w:
        assert not loopback_of_the_pe(w)
    with world(ALL - {Guard.LAST_RESORT.value}) as w:
        assert loopback_of_the_pe(w)


def test_a_setting_that_an_operator_opens_is_closed_again() -> None:
    """T8, T10, LBL-17, FAIL-5."""
    with founding_world():
        agent = AgentProcess("pe1", check_seconds=1)
        agent.apply(desired("pe1"))
        tampered = {
            "net.mpls.conf.lo.input": ("1", "0"),
            "net.mpls.conf.pe1-red.input": ("1", "0"),
            "net.ipv4.raw_l3mdev_accept": ("1", "0"),
            "net.mpls.ip_ttl_propagate": ("1", "0"),
        }
        for setting, (wrong, _) in tampered.items():
            inside("pe1", f"sysctl -qw {setting}={wrong}")
        time.sleep(2.5)
        for setting, (_, right) in tampered.items():
            assert inside("pe1", f"sysctl -n {setting}").strip() == right, setting
        assert agent.call("repairs") >= len(tampered)
        agent.stop()


def test_a_first_delta_decides_and_nothing_happens_before() -> None:
    """FAIL-2: an agent without a first delta leaves a former run's state alone."""
    with founding_world():
        agent = AgentProcess("pe1")
        agent.apply(desired("pe1"))
        agent.kill()
        before = inside("pe1", "nft -s list ruleset")
        silent = AgentProcess("pe1")
        silent.call("submit", Delta())
        time.sleep(0.5)
        assert inside("pe1", "nft -s list ruleset") == before
        silent.stop()
