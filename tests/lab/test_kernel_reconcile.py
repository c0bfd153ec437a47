"""The agent against the real kernel: what it builds, keeps, repairs, adopts and takes away."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address, ip_interface

import pytest

from controlplane.model.desired import CePort, Delta, NextHop, NextHopPath
from controlplane.model.events import (
    PortChanged,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
)
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Prefix, parse_prefix
from pe.fib.route_batch import SEND_ROUTES
from tests.lab.agents import (
    LOOPBACK,
    AgentProcess,
    ce_name,
    desired,
    founding_world,
    host,
    inside,
    reaches,
    remote_hop,
    run,
    session,
    until,
    wire,
)

RED, BLUE = ce_name("pe1", "red"), ce_name("pe1", "blue")
REMOTE = parse_prefix(f"{LOOPBACK['pe2']}/32")
MANY = 20_000


@contextmanager
def agents(**options: object) -> Iterator[list[AgentProcess]]:
    """Both PEs of the founding world, built; the list's items may be replaced by the test."""
    with founding_world():
        both = [AgentProcess(pe, **options) for pe in ("pe1", "pe2")]
        try:
            for pe, agent in zip(("pe1", "pe2"), both, strict=True):
                agent.apply(desired(pe))
                agent.call("mark_in_sync")
                agent.call("settled")
            yield both
        finally:
            for agent in both:
                agent.stop()


def many_routes() -> Delta:
    key = remote_hop("pe1", "red", Afi.IPV4).key
    prefixes = (Prefix((0x14000000 + 256 * n).to_bytes(4, "big"), 24) for n in range(MANY))
    return Delta(routes={1001: dict.fromkeys(prefixes, key)})


def routes_in(table: int, family: str = "-4") -> int:
    out = inside("pe1", f"ip {family} route show table {table} proto 198", check=False)
    return sum(" nhid " in line for line in out.splitlines())


def whole() -> bool:
    return all(reaches(ce, host("pe2", v)) for ce in (RED, BLUE) for v in (4, 6))


def test_two_customers_with_equal_addresses_over_two_labels_and_nothing_drifts() -> None:
    with agents(check_seconds=1) as (pe1, _):
        assert until(whole)
        assert pe1.call("failures") == ()
        time.sleep(3)
        assert pe1.call("repairs") == 0
        states = pe1.call("ports")
        assert all(state.up and state.guarded for state in states.values())


def test_events_report_the_underlay_with_labels_and_ports_as_they_change() -> None:
    with agents() as (pe1, _):
        events = [event for _, event in pe1.call("events")]
        synced = events.index(UnderlaySynced())
        path = UnderlayPath(ip_address("10.0.1.2"), "core0", (18,))
        assert UnderlayRouteChanged(REMOTE, (path,), 0) in events[:synced]
        assert PortChanged("pe1-red", True, True) in events

        run(f"ip -n pe1 route replace {REMOTE} encap mpls 19 via 10.0.1.2")
        run("ip -n pe1 nexthop add id 7 encap mpls 20 via 10.0.1.2 dev core0")
        run(f"ip -n pe1 route replace {REMOTE} nhid 7")
        run("ip -n pe1 nexthop replace id 7 encap mpls 21 via 10.0.1.2 dev core0")
        time.sleep(0.3)
        told = [
            e.paths[0].labels for _, e in pe1.call("events") if getattr(e, "prefix", 0) == REMOTE
        ]
        assert told == [(19,), (20,), (21,)]

        run("ip -n p link set p-pe1 down")  # carrier is lost: IPv4 routes go without a word
        assert until(lambda: UnderlayRouteChanged(REMOTE, ()) in taken(pe1))
        run("ip -n pe1 link delete pe1-red")
        assert until(lambda: PortChanged("pe1-red", False, False) in taken(pe1))


def taken(agent: AgentProcess) -> list[object]:
    return [event for _, event in agent.call("events")]


def test_kill_9_and_a_new_start_lose_no_packet_and_rewrite_no_route() -> None:
    with agents() as both:
        assert until(whole)  # neighbours are known from here on
        both[0].apply(many_routes())
        pings = [
            subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    RED,
                    "ping",
                    "-q",
                    "-i",
                    "0.02",
                    "-c",
                    "400",
                    host("pe2", v),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            for v in (4, 6)
        ]
        time.sleep(0.5)
        both[0].kill()
        both[0] = AgentProcess("pe1")
        both[0].apply(desired("pe1"))
        both[0].apply(many_routes())
        both[0].call("mark_in_sync")
        both[0].call("settled")
        written = {c.name: c.value for c in both[0].call("counters")}["kernel_routes_written"]
        assert written == 0
        assert both[0].call("repairs") == 0
        for ping in pings:
            assert " 0% packet loss" in ping.communicate(timeout=60)[0]


def test_what_a_former_run_left_goes_only_when_in_sync() -> None:
    with agents() as both:
        both[0].apply(many_routes())
        both[0].kill()
        both[0] = AgentProcess("pe1")
        only_red = desired("pe1")
        del only_red.vrfs["blue"], only_red.ce_ports["pe1-blue"], only_red.routes[1002]
        only_red.labels = {n: b for n, b in only_red.labels.items() if b and b.vrf == "red"}
        both[0].apply(only_red)
        assert routes_in(1001) == MANY + 2
        assert "master blue" in run("ip -n pe1 link")
        both[0].call("mark_in_sync")
        assert until(lambda: "blue:" not in run("ip -n pe1 link"))
        both[0].call("settled")
        assert routes_in(1001) == 2
        assert run("ip -n pe1 route show table 1002", check=False).strip() in ("", GONE)
        assert "blue" not in inside("pe1", "nft list ruleset")
        port = run("ip -n pe1 link show pe1-blue")
        assert "master" not in port
        assert "state DOWN" in port


GONE = "Error: ipv4: FIB table does not exist.\nDump terminated"

MEDDLING = {
    "route": "ip route delete 10.2.0.0/16 table 1001",
    "routes": "ip route flush table 1001 proto 198",
    "next hops": "ip nexthop flush proto 198",
    "last resort": "ip -6 route delete unreachable default table 1001 metric 4278198272",
    "rule": "ip rule delete pref 32765",
    "first rule": "ip rule add pref 0 table local",
    "label": "ip -f mpls route delete 16001",
    "ruleset": "nft flush ruleset",
    "chain": "nft flush chain netdev bulkhead v4_pe1-red",
    "element": "nft flush map inet bulkhead arrivals",
    "port moved": "ip link set pe1-red nomaster",
    "port down": "ip link set pe1-red down",
    "address": "ip address flush dev pe1-red scope global",
    "VRF down": "ip link set red down",
    "VRF deleted": "ip link delete red",
    "replaced": "ip route replace blackhole 10.2.0.0/16 table 1001 metric 1198",
}


def test_every_change_by_an_operator_is_repaired_and_counted() -> None:
    with agents(check_seconds=1) as (pe1, _):
        time.sleep(1.5)
        before = fingerprint()
        for name, command in MEDDLING.items():
            repairs = pe1.call("repairs")
            inside("pe1", command, check=False)
            assert until(lambda: fingerprint() == before, 12), (name, difference(before))
            assert until(partial(is_above, pe1, repairs), 3), name
            pe1.call("settled")
        assert until(whole, 10)
        assert pe1.call("failures") == ()


def is_above(agent: AgentProcess, repairs: int) -> bool:
    return bool(agent.call("repairs") > repairs)


COMMANDS = (
    "ip rule", "ip -6 rule", "ip -br link", "ip -br addr", "ip -f mpls route",
    "ip route show table 1001", "ip -6 route show table 1001", "nft -s list ruleset",
)  # fmt: skip


def fingerprint() -> dict[str, str]:
    """What the kernel shows, without what may differ: ids, link-local addresses, counters."""
    return {command: blurred(inside("pe1", command, check=False)) for command in COMMANDS}


def blurred(text: str) -> str:
    text = re.sub(r"nhid \d+|fe80\S+|@if\d+|([0-9a-f]{2}:){5}[0-9a-f]{2}|expires \S+", "", text)
    text = re.sub(r"\s*elements = \{[^}]*expires[^}]*\}", "", text)
    return "\n".join(sorted(line.strip() for line in text.splitlines() if line.strip()))


def difference(before: dict[str, str]) -> str:
    after = fingerprint()
    return str({k: (before[k], after[k]) for k in before if before[k] != after[k]})


def test_a_port_is_built_when_it_comes_and_a_vlan_port_is_made_and_unmade() -> None:
    with agents() as (pe1, _):
        addresses = (ip_interface("172.20.0.1/24"),)
        late = CePort("late", "blue", 3, addresses, None)
        tagged = CePort("trunk.7", "red", 4, (ip_interface("172.21.0.1/24"),), None, "trunk", 7)
        pe1.apply(Delta(ce_ports={late.name: late, tagged.name: tagged}))
        assert not pe1.call("ports")["late"].present
        for port in ("late", "trunk"):
            wire("pe1", port, BLUE, f"{port}0")
            run(f"ip -n {BLUE} link set {port}0 up")
        run("ip -n pe1 link set late up")  # up in the global table: before its time
        assert until(lambda: pe1.call("ports")["late"].up and pe1.call("ports")["trunk.7"].up)
        assert "master blue" in run("ip -n pe1 link show late")
        assert "vlan protocol 802.1Q id 7" in run("ip -n pe1 -d link show trunk.7")
        run("ip -n pe1 link delete late")
        wire("pe1", "late", BLUE, "late1")
        run(f"ip -n {BLUE} link set late1 up")
        assert until(lambda: pe1.call("ports")["late"].up)

        pe1.apply(Delta(ce_ports={late.name: None, tagged.name: None}))
        assert "trunk.7" not in run("ip -n pe1 link")
        left = run("ip -n pe1 -d addr show late")
        assert "master" not in left
        assert "172.20" not in left
        assert "late" not in inside("pe1", "nft list ruleset")
        assert until(whole)


def connect(ce: str, address: str, port: int, ttl: int = 255) -> str:
    code = (
        "import socket; s = socket.socket(); s.settimeout(1.2);"
        f"s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, {ttl});"
        f"print(s.connect_ex(('{address}', {port})))"
    )
    return inside(ce, f'python3 -c "{code}"').strip()


def test_only_a_session_s_peer_reaches_the_pe_and_only_by_bgp_with_its_ttl() -> None:
    """ACL-1, ACL-2, ACL-7, BGP-3. No socket listens: a SYN that passes is refused, others time
    out."""
    refused = "111"
    with agents() as (pe1, _):
        assert connect(RED, "192.168.1.1", 179) != refused
        red = session("pe1", "red")
        pe1.apply(Delta(sessions={red.peer: red}))
        assert connect(RED, "192.168.1.1", 179) == refused
        assert connect(RED, "192.168.1.1", 179, ttl=64) != refused
        assert connect(RED, "192.168.1.1", 22) != refused
        assert connect(BLUE, "192.168.1.1", 179) != refused
        assert pe1.counters()["bgp_03"] > 0
        pe1.apply(Delta(sessions={PeerId("red", red.peer.address): None}))
        assert connect(RED, "192.168.1.1", 179) != refused


def test_a_change_of_the_core_path_is_one_message_and_goes_before_any_bulk() -> None:
    with agents() as (pe1, _):
        pe1.apply(many_routes())
        hop = remote_hop("pe1", "red", Afi.IPV4)
        inside("p", "ip -f mpls route add 28 via inet 10.0.2.1 dev p-pe2")
        other = NextHop(hop.key, (NextHopPath(hop.paths[0].gateway, "core0", (28, 16101)),))
        seconds = pe1.call("timed", Delta(next_hops={hop.key: other}))
        assert seconds < 0.05
        assert "28/16101" in inside("pe1", "ip route get vrf red 20.0.5.1")
        assert routes_in(1001) == MANY + 2
        both = NextHop(hop.key, hop.paths + other.paths)
        pe1.apply(Delta(next_hops={hop.key: both}))
        assert reaches(RED, host("pe2", 4))
        pe1.apply(Delta(next_hops={hop.key: NextHop(hop.key, ())}))
        assert not reaches(RED, host("pe2", 4))  # a discard
        pe1.apply(Delta(next_hops={hop.key: hop}))
        assert reaches(RED, host("pe2", 4))


def test_routes_outlive_the_core_port_and_lead_into_the_blackhole_without_it() -> None:
    """The kernel takes next hops with their device and routes with their last next hop, silently:
    without the blackhole next hop (the control) every route is written anew."""
    with agents() as (pe1, _):
        assert until(whole)
        pe1.apply(many_routes())
        written = pe1.call("written")
        run("ip -n p link set p-pe1 down")
        assert until(lambda: pe1.call("failures"))  # next hops on a dead device
        assert routes_in(1001) == MANY + 2
        assert "dev bulkhead-void" in inside("pe1", "ip route get vrf red 20.0.5.1")
        run("ip -n p link set p-pe1 up")
        assert until(lambda: pe1.call("failures") == ())
        assert until(whole)
        run("ip -n pe1 link set core0 down")  # which the agent does not leave so
        assert until(whole)
        assert routes_in(1001) == MANY + 2
        assert pe1.call("written") == written

        run("ip -n pe1 link set bulkhead-void mtu 1400")  # nor this
        run("ip -n pe1 link delete bulkhead-void")
        assert until(lambda: inside("pe1", "ip nexthop").count("dev bulkhead-void") == 2)
        pe1.call("settled")
        run("ip -n p link set p-pe1 down")
        assert until(lambda: "dev bulkhead-void" in inside("pe1", "ip route get vrf red 20.0.5.1"))
        run("ip -n p link set p-pe1 up")
        assert until(whole)
        assert until(lambda: routes_in(1001) == MANY + 2)
        assert pe1.call("repairs") > 0


def test_a_route_that_the_kernel_refuses_does_not_hold_up_the_others() -> None:
    with agents() as (pe1, _):
        hop = remote_hop("pe1", "red", Afi.IPV4)
        broken = NextHop(
            type(hop.key)(Afi.IPV4, ip_address("10.255.0.9"), 99),
            (NextHopPath(ip_address("10.0.1.9"), "nowhere", (99,)),),
        )
        good, bad = parse_prefix("10.8.0.0/16"), parse_prefix("10.9.0.0/16")
        pe1.apply(
            Delta(
                next_hops={broken.key: broken},
                routes={1001: {good: hop.key, bad: broken.key}},
            )
        )
        out = inside("pe1", "ip route show table 1001")
        assert "10.8.0.0/16" in out
        assert "10.9.0.0/16" not in out
        (failure,) = pe1.call("failures")
        assert (failure.kind, failure.errno) == ("next-hop", 19)
        run("ip -n pe1 link add nowhere type dummy")
        run("ip -n pe1 link set nowhere up")
        assert until(lambda: "10.9.0.0/16" in inside("pe1", "ip route show table 1001"))
        assert pe1.call("failures") == ()


def test_teardown_leaves_nothing_of_ours() -> None:
    with agents() as (pe1, _):
        run("ip -n pe1 route add 172.30.0.0/16 via 10.0.1.2")  # not ours: stays
        pe1.apply(many_routes())
        pe1.call("teardown")
        for command in ("ip -4 rule", "ip -6 rule"):
            assert "0:\tfrom all lookup local" in inside("pe1", command)
            assert "32765" not in inside("pe1", command)
        assert inside("pe1", "ip nexthop").strip() == ""
        assert inside("pe1", "ip -f mpls route").strip() == ""
        assert "bulkhead" not in inside("pe1", "nft list ruleset") + run("ip -n pe1 -d link")
        assert "172.30.0.0/16" in run("ip -n pe1 route")
        assert "proto 198" not in run("ip -n pe1 route show table all")


@pytest.mark.parametrize("family", [4, 6])
def test_a_bulk_of_routes_leaves_the_loop_alive(family: int) -> None:
    """Keepalives must go out while routes go in: between two turns there is one slice at most."""
    with agents() as (pe1, _):
        key = remote_hop("pe1", "red", Afi.IPV4 if family == 4 else Afi.IPV6).key
        size = 4 if family == 4 else 16
        base = 0x14 << 24 if family == 4 else 0x20010DB9 << 96
        step = 256 if family == 4 else 1 << 64
        prefixes = [
            Prefix((base + step * n).to_bytes(size, "big"), 24 if family == 4 else 64)
            for n in range(MANY)
        ]
        pe1.call("watch_loop")
        pe1.apply(Delta(routes={1001: dict.fromkeys(prefixes, key)}))
        assert 0 < pe1.call("longest_leap") <= SEND_ROUTES < MANY
        assert routes_in(1001, f"-{family}") == MANY + 2
