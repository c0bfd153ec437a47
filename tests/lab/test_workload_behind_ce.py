"""A workload behind a CE router: its packets go by the CE, under policy, as the CE has a route.

Red's CE (FRR) announces its LAN by BGP, blue's is static; both are at pe1, the other sites at pe2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bulkhead.client import Node as Client
from bulkhead.client import connect
from bulkhead.v1 import node_pb2 as pb

from labs.checks.reach import ping
from labs.lab import RunningLab, running
from labs.parts import bgp_ce, loopback, lsp, server
from labs.peers.frr import programs as frr
from labs.peers.frr import query, vtysh
from labs.peers.pe import API, command, pe
from labs.site import command as site
from labs.topologies import quickstart
from labs.topology import End, Lab, Link, Node
from labs.waiting import until

pytestmark = pytest.mark.lab

PATIENCE = 60.0
RED, RED6, BLUE = "10.1.5.5", "2001:db8:1:5::5", "10.99.1.5"
"""The hosts behind the CEs of pe1."""
REMOTE = "10.2.0.1"
LAN = "10.1.5.0/24"
POLICY = """\
modes: {vrfs: {red: full}}
rules: [allow tier=client to tier=web on tcp/1-65535]
"""


def _pe(here: int, there: int) -> Node:
    config = quickstart.pe_yaml(here, there)
    for vrf in ("red", "blue"):
        config = config.replace(f"  {vrf}:\n", f"  {vrf}:\n    limits: {{workloads: 10}}\n")
    setup = (lsp(here, there),)
    return Node(f"pe{here}", "pe", (loopback(here) + "/32",), {}, setup, (pe(config),))


def _red_ce() -> Node:
    bgp = (
        quickstart.ce_bgp(1)
        .replace(" network 10.1.0.0/24\n", f" network 10.1.0.0/24\n  network {LAN}\n")
        .replace("  network 2001:db8:1::/64\n", "  network 2001:db8:1:5::/64\n")
    )
    return bgp_ce("red", 1, frr("ce-red-1", bgp, daemons=("zebra", "bgpd")))


def _blue_ce() -> Node:
    made = quickstart.blue_ce(1)
    behind = ("ip", "route", "add", BLUE, "via", "172.31.1.2")
    return Node(made.name, made.role, (), made.sysctls, (*made.setup, behind), made.programs)


def _host(name: str, address: str, *gateways: str) -> Node:
    ways = tuple(("ip", "route", "add", "default", "via", gateway) for gateway in gateways)
    own = (f"{address}/32",) if address else ()
    return Node(name, addresses=own, setup=ways, programs=(server(name),))


REPLACED = {each.name: each for each in (_pe(1, 2), _pe(2, 1), _red_ce(), _blue_ce())}
LAB = Lab(
    "behind-ce",
    "hosts behind CE routers",
    nodes=(
        *(REPLACED.get(node.name, node) for node in quickstart.LAB.nodes),
        _host("h-red", "", "10.1.5.1", "2001:db8:1:5::1"),
        _host("h-blue", BLUE, "172.31.1.1"),
    ),
    links=(
        *quickstart.LAB.links,
        Link(
            End("ce-red-1", "lan1", ("10.1.5.1/24", "2001:db8:1:5::1/64")),
            End("h-red", "eth0", (f"{RED}/24", f"{RED6}/64")),
        ),
        Link(
            End("ce-blue-1", "lan1", ("172.31.1.1/30",)),
            End("h-blue", "eth0", ("172.31.1.2/30",)),
        ),
    ),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        for name in ("pe1", "pe2"):
            assert until(lambda: are_up(up, name), PATIENCE), name  # noqa: B023
        yield up


def api(lab: RunningLab, node: str) -> Client:
    return connect(str(lab.dir(node) / "run" / "api.sock"), timeout=PATIENCE)


def are_up(lab: RunningLab, node: str) -> bool:
    """All BGP sessions of a node are."""
    established = pb.Neighbor.SESSION_STATE_ESTABLISHED
    with api(lab, node) as client:
        return all(each.state == established for each in client.show_neighbors())


def reaches(lab: RunningLab, address: str, vpn: str = "red") -> bool:
    """A remote site pings a host."""
    source = "2001:db8:2::1" if ":" in address else REMOTE
    return bool(ping(lab, f"ce-{vpn}-2", address, source, count=1).returncode == 0)


def answers(lab: RunningLab, address: str, vpn: str = "red") -> str:
    """What a host says over TCP to a remote site: its name."""
    source = "2001:db8:2::1" if ":" in address else REMOTE
    return lab.run(f"ce-{vpn}-2", *site(), "who", address, source, check=False).stdout.strip()


def routes(lab: RunningLab, node: str, prefix: str, vrf: str = "red") -> list[pb.Route]:
    with api(lab, node) as client:
        return list(client.show_routes(vrf, prefix))


def next_hop(lab: RunningLab, node: str, prefix: str, vrf: str = "red") -> str:
    """The next hop of the route that the kernel uses."""
    rows = routes(lab, node, prefix, vrf)
    return next((row.next_hop or row.port for row in rows if row.active), "")


def in_kernel(lab: RunningLab, prefix: str, vrf: str = "red") -> str:
    family = "-6" if ":" in prefix else "-4"
    return str(lab.run("pe1", "ip", family, "route", "show", "vrf", vrf, prefix).stdout)


def learned_by_ce(lab: RunningLab) -> set[str]:
    """All prefixes in the table of red's CE at pe1."""
    return {
        prefix
        for afi in ("ipv4", "ipv6")
        for prefix in query(lab, "ce-red-1", f"show bgp {afi} unicast json")["routes"]
    }


def announce(lab: RunningLab, *, yes: bool) -> None:
    word = "" if yes else "no "
    words = ("configure terminal", "router bgp 65101", "address-family ipv4 unicast")
    vtysh(lab, "ce-red-1", *words, f"{word}network {LAN}")


def attach(lab: RunningLab, node: str, *args: Any) -> None:
    with api(lab, node) as client:
        client.segment.attach(*args)


def promote(lab: RunningLab) -> None:
    for name in ("pe1", "pe2"):
        with api(lab, name) as client:
            client.segment.stage(POLICY, reason="test")
            client.segment.promote(reason="test")


def explained(lab: RunningLab, address: str) -> str:
    words = ("explain", "--vrf", "red", REMOTE, address, "icmp/echo-request", "--socket", API)
    return str(lab.run("pe1", command(), *words).stdout)


def test_1_before_and_after_the_attachment(lab: RunningLab) -> None:
    for address, vpn in ((RED, "red"), (RED6, "red"), (BLUE, "blue")):
        assert until(lambda: reaches(lab, address, vpn), PATIENCE), "control"  # noqa: B023
    attach(lab, "pe1", "web", "red", "ce-red", [RED, RED6], {"tier": "web"})
    attach(lab, "pe1", "blue-web", "blue", "ce-blue", [BLUE], {"tier": "web"})
    for address, vpn, host, via in (
        (RED, "red", "h-red", "192.168.1.2"),
        (RED6, "red", "h-red", "2001:db8:f1::2"),
        (BLUE, "blue", "h-blue", "192.168.1.2"),
    ):
        host_route = f"{address}/{128 if ':' in address else 32}"
        assert until(lambda: next_hop(lab, "pe2", host_route, vpn) != "", PATIENCE)  # noqa: B023
        found = next_hop(lab, "pe1", host_route, vpn)
        assert found == via or (found.startswith("fe80::") and ":" in via), found
        assert in_kernel(lab, host_route, vpn)
        carried = routes(lab, "pe2", host_route, vpn)[0].large_communities
        assert any(each.startswith("65000:1:") for each in carried), "it brings its identity"
        assert reaches(lab, address, vpn)
        assert answers(lab, address, vpn) == host


def test_2_the_ce_does_not_get_its_own_host_from_the_pe(lab: RunningLab) -> None:
    attach(lab, "pe2", "client", "red", "ce-red", [REMOTE, "2001:db8:2::1"], {"tier": "client"})
    assert until(lambda: f"{REMOTE}/32" in learned_by_ce(lab), PATIENCE), "control: another port's"
    assert not {f"{RED}/32", f"{RED6}/128"} & learned_by_ce(lab)


def test_3_policy_applies_to_the_host_by_its_address(lab: RunningLab) -> None:
    assert reaches(lab, RED), "control"
    promote(lab)
    assert until(lambda: answers(lab, RED) == "h-red", PATIENCE)
    assert answers(lab, RED6) == "h-red"
    assert not reaches(lab, RED)


def test_4_it_goes_and_comes_with_the_route_of_the_ce(lab: RunningLab) -> None:
    announce(lab, yes=False)
    assert until(lambda: next_hop(lab, "pe2", f"{RED}/32") == "", PATIENCE)
    assert in_kernel(lab, f"{RED}/32") == "", "no host on the link would answer for it"
    (row,) = routes(lab, "pe1", f"{RED}/32")
    assert row.inactive_reason == "no route through the workload's port leads to it"
    assert f"{RED}/32: no route through the workload's port leads to it" in explained(lab, RED)
    assert f"{RED}/32" not in learned_by_ce(lab)
    assert answers(lab, RED6) == "h-red", "its other address has a route"
    announce(lab, yes=True)
    assert until(lambda: next_hop(lab, "pe2", f"{RED}/32") != "", PATIENCE)
    assert until(lambda: answers(lab, RED) == "h-red", PATIENCE)


def test_5_kill_9_and_a_start(lab: RunningLab) -> None:
    runs = lab.log("pe1", "pe").count("event=in_sync")
    lab.restart("pe1", "pe", 9)
    assert until(lambda: lab.log("pe1", "pe").count("event=in_sync") > runs, PATIENCE)
    assert until(lambda: are_up(lab, "pe1"), PATIENCE)
    assert until(lambda: next_hop(lab, "pe1", f"{RED}/32") == "192.168.1.2", PATIENCE)
    assert until(lambda: answers(lab, RED) == "h-red", PATIENCE)
    assert until(lambda: answers(lab, RED6) == "h-red", PATIENCE)
    assert until(lambda: answers(lab, BLUE, "blue") == "h-blue", PATIENCE)
    assert not {f"{RED}/32", f"{RED6}/128"} & learned_by_ce(lab)


def test_6_a_session_that_ends_takes_it_away(lab: RunningLab) -> None:
    neighbor = "neighbor 192.168.1.1 shutdown"
    vtysh(lab, "ce-red-1", "configure terminal", "router bgp 65101", neighbor)
    assert until(lambda: next_hop(lab, "pe2", f"{RED}/32") == "", PATIENCE)
    assert in_kernel(lab, f"{RED}/32") == ""
    assert answers(lab, RED6) == "h-red"
    vtysh(lab, "ce-red-1", "configure terminal", "router bgp 65101", f"no {neighbor}")
    assert until(lambda: answers(lab, RED) == "h-red", PATIENCE)
