"""An extranet in which two VRFs have workloads with one address: a conflict, as between two PEs.

Red and blue import each other's routes; green imports red's, and no VRF imports green's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from bulkhead.client import connect
from bulkhead.segment import Segment

from labs.lab import RunningLab, running
from labs.peers.pe import API, pe
from labs.peers.pe import command as pe_command
from labs.topology import End, Lab, Link, Node
from labs.waiting import until
from tests.lab.hosts import host

pytestmark = pytest.mark.lab

CLIENT, LATE, BOTH, ONE_WAY = "10.1.0.9", "10.1.0.6", "10.1.0.7", "10.1.0.8"
CONFIG = f"""\
name: pe1
router-id: 10.255.0.1
asn: 65000
loopback: 10.255.0.1
core-ports: {{core0: {{}}}}
vrfs:
  red:
    rd: 65000:1
    export-route-target: [65000:1]
    import-route-target: [65000:1, 65000:2]
    limits: {{workloads: 10}}
    ports:
      pe1-a: {{addresses: [192.168.1.1/30], source-prefixes: any}}
      pe1-c: {{addresses: [192.168.3.1/30], source-prefixes: any}}
    workloads:
      red-one: {{port: pe1-a, addresses: [{ONE_WAY}], tags: {{tier: db}}}}
      red-both: {{port: pe1-a, addresses: [{BOTH}], tags: {{tier: db}}}}
      client: {{port: pe1-c, addresses: [{CLIENT}], tags: {{tier: web}}}}
  blue:
    rd: 65000:2
    export-route-target: [65000:2]
    import-route-target: [65000:1, 65000:2]
    limits: {{workloads: 10}}
    ports:
      pe1-b: {{addresses: [192.168.2.1/30], source-prefixes: any}}
    workloads:
      blue-both: {{port: pe1-b, addresses: [{BOTH}], tags: {{tier: db}}}}
  green:
    rd: 65000:3
    export-route-target: [65000:3]
    import-route-target: [65000:1]
    ports:
      pe1-d: {{addresses: [192.168.4.1/30], source-prefixes: any}}
    workloads:
      green-one: {{port: pe1-d, addresses: [{ONE_WAY}], tags: {{tier: db}}}}
"""
POLICY = "modes: {default: full}\nrules: [allow tier=web to tier=db on icmp/echo-request]\n"
BACK = POLICY.replace("request]", "request, allow tier=db to tier=web on icmp/echo-reply]")
LAB = Lab(
    "extranet",
    "one PE with VRFs that import from each other",
    nodes=(
        Node("pe1", "pe", ("10.255.0.1/32",), programs=(pe(CONFIG),)),
        Node("core"),
        host("a", 1, LATE, BOTH, ONE_WAY),
        host("b", 2, LATE, BOTH),
        host("c", 3, CLIENT),
        host("d", 4, ONE_WAY),
    ),
    links=(
        Link(End("pe1", "core0", ("10.0.1.1/30",)), End("core", "pe1", ("10.0.1.2/30",))),
        Link(End("a", "eth0", ("192.168.1.2/30",)), End("pe1", "pe1-a", up=False)),
        Link(End("b", "eth0", ("192.168.2.2/30",)), End("pe1", "pe1-b", up=False)),
        Link(End("c", "eth0", ("192.168.3.2/30",)), End("pe1", "pe1-c", up=False)),
        Link(End("d", "eth0", ("192.168.4.2/30",)), End("pe1", "pe1-d", up=False)),
    ),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        assert until(lambda: "event=in_sync" in up.log("pe1", "pe"), 60.0)
        promote(up, POLICY)
        yield up


def promote(lab: RunningLab, document: str) -> None:
    with node(lab) as segment:
        segment.stage(document, reason="test")
        segment.promote(reason="test")


@contextmanager
def node(lab: RunningLab) -> Iterator[Segment]:
    with connect(str(lab.dir("pe1") / "run" / "api.sock"), timeout=60.0) as client:
        yield client.segment


def said(lab: RunningLab, *words: str) -> str:
    done = lab.run("pe1", pe_command(), *words, "--socket", API, check=False)
    return str(done.stdout + done.stderr)


def answers(lab: RunningLab, address: str) -> bool:
    words = ("ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "1", "-I", CLIENT, address)
    return ", 0% packet loss" in lab.run("c", *words, check=False).stdout


def attach(lab: RunningLab, name: str, vrf: str, port: str, address: str) -> str:
    try:
        with node(lab) as segment:
            segment.attach(name, vrf, port, [address], {"tier": "db"})
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return ""


def test_an_address_of_another_vrf_of_the_extranet_cannot_be_attached(lab: RunningLab) -> None:
    assert not attach(lab, "red-late", "red", "pe1-a", LATE)
    assert answers(lab, LATE), "the control"
    refusal = attach(lab, "blue-late", "blue", "pe1-b", LATE)
    assert refusal.startswith("ALREADY_EXISTS: workload.addresses[0]: 10.1.0.6/32 is attached at")
    assert "another VRF under another name" in refusal
    assert answers(lab, LATE), "the one that was there is as before"
    with node(lab) as segment:
        segment.detach("red-late")
    assert until(lambda: not attach(lab, "blue-late", "blue", "pe1-b", LATE), 10.0)
    assert not answers(lab, LATE)
    assert "icmp/echo-reply" in said(lab, "flows", "--denied"), "a reply needs a rule of its own"
    promote(lab, BACK)
    assert until(lambda: answers(lab, LATE), 10.0), "from red to blue"
    promote(lab, POLICY)


def test_where_both_claims_stand_the_address_is_pending_in_both_vrfs(lab: RunningLab) -> None:
    listed = said(lab, "workload", "list")
    for name in ("blue-both", "red-both"):
        line = f"! {name}: {BOTH}: also at another VRF, under another name; pending, so denied"
        assert line in listed
        assert f"{name} !" in listed
    assert not answers(lab, BOTH)
    for vrf in ("red", "blue"):
        assert f"event=address_conflict vrf={vrf} address={BOTH}/32 " in conflicts(lab)
    explained = said(lab, "explain", "--vrf", "red", CLIENT, BOTH, "icmp/echo-request")
    assert "DENIED by default/pending" in explained
    routes = said(lab, "show", "routes", "red", "--prefix", f"{BOTH}/32", "--all")
    assert f"W>*  {BOTH}/32" in routes
    assert f"L    {BOTH}/32" in routes
    detail = said(lab, "show", "routes", "red", "--prefix", f"{BOTH}/32", "--all", "--json")
    assert "address conflict" in detail


def test_a_vrf_that_does_not_import_the_other_claim_is_in_no_conflict(lab: RunningLab) -> None:
    assert answers(lab, ONE_WAY), "red does not import green's"
    listed = said(lab, "workload", "list")
    assert "green-one !" in listed
    assert "red-one !" not in listed
    assert f"event=address_conflict vrf=green address={ONE_WAY}/32 " in conflicts(lab)
    assert f"event=address_conflict vrf=red address={ONE_WAY}/32 " not in conflicts(lab)


def conflicts(lab: RunningLab) -> str:
    lines = lab.log("pe1", "pe").splitlines()
    return "\n".join(line for line in lines if "event=address_conflict" in line)
