"""Test CPP-3, DOS-1: the metrics of a running PE, and access to them."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from labs.attack import ip, link, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Net, circuit
from labs.waiting import until
from tests.attack.management import Management, managed

RED = circuit("red", 3)


@pytest.fixture(scope="module")
def desk(net: Net) -> Iterator[Management]:
    with managed(net) as found:
        yield found


class Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket, whose path stands for the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


def scrape(desk: Management) -> str:
    """As Prometheus asks."""
    connection = Connection(str(desk.metrics))
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.read().decode()
    finally:
        connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_cpp_03_an_operator_looks_with_curl(desk: Management) -> None:
    argv = ("curl", "-sS", "--fail", "--unix-socket", str(desk.metrics))
    text = run_in("pe1", *argv, "http://localhost/metrics")
    assert value(text, "bulkhead_build_info") == 1
    missing = (*argv, "http://localhost/else")
    with pytest.raises(RuntimeError, match="404"):
        run_in("pe1", *missing)


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_cpp_03_a_guard_that_drops_shows_in_the_metrics(desk: Management, net: Net) -> None:
    """By requirement, port, VRF and class; the port next to it stays as it was."""
    inner = ip.udp(plan.lan(3, 4), plan.lan(2, 4), PROBE_PORT, b"x")
    label = (net.label("red") << 12 | 1 << 8 | 64).to_bytes(4, "big")
    priority_tagged = link.ethernet(RED.pe.mac, RED.ce.mac, link.MPLS, label + inner, (0,))
    where = {"requirement": "LBL-6", "port": "ce-red-3", "vrf": "red", "action": "drop"}
    before = scrape(desk)
    RED.ce.send(*[priority_tagged] * 7)
    net.sentinel(circuit("red", 1))

    def grown() -> float:
        after = scrape(desk)
        same = {**where, "port": "ce-blue-3", "vrf": "blue"}
        assert value(after, "bulkhead_guard_packets_total", **same) == value(
            before, "bulkhead_guard_packets_total", **same
        )
        return value(after, "bulkhead_guard_packets_total", **where) - value(
            before, "bulkhead_guard_packets_total", **where
        )

    assert until(lambda: grown() == 7, 20.0, every=0.5)
    RED.ce.flood([RED.frame(ip.echo(plan.ce(3, 4), plan.gateway(3, 4), b"x"))] * 3000)
    flood = {"requirement": "CPP-1", "port": "ce-red-3", "class": "other", "action": "limit"}
    assert until(lambda: value(scrape(desk), "bulkhead_guard_packets_total", **flood) > 1000, 20.0)


def test_cpp_03_sessions_routes_and_the_rest(desk: Management, net: Net) -> None:
    """The figures are those of `pe show`."""
    text = scrape(desk)
    assert value(text, "bulkhead_bgp_session_up", neighbor="10.255.0.2", vrf="") == 1
    assert value(text, "bulkhead_bgp_session_up", vrf="red") == 0, "its CE runs no BGP speaker"
    for row in net.pe1.show_vrfs():
        assert value(text, "bulkhead_vrf_routes", vrf=row.name) == row.routes
    labels = [label.state == label.STATE_IN_USE for label in net.pe1.show_labels()]
    assert value(text, "bulkhead_labels", state="in-use") == sum(labels), "others may rest"
    assert value(text, "bulkhead_port_up", port="ce-red-1") == 1
    assert until(lambda: value(scrape(desk), "bulkhead_in_sync") == 1, 10.0)
    assert value(text, "bulkhead_conntrack_limit", vrf="red") == plan.CONNTRACK_LIMIT
    assert value(text, "bulkhead_next_hops", state="reachable") >= 2
    assert value(text, "process_resident_memory_bytes") > 10 << 20
    names = set(re.findall(r"^# TYPE (bulkhead_\w+)", text, re.MULTILINE))
    counters = {f"bulkhead_{c.name}_total" for c in net.pe1.show_counters()}
    assert counters <= names


def test_dos_01_connections_of_each_vrf_beside_its_limit(desk: Management, net: Net) -> None:
    """Red's connections are counted as red's, in the zone of its ports."""

    def entries(vrf: str) -> float:
        return value(scrape(desk), "bulkhead_conntrack_entries", vrf=vrf)

    blue = entries("blue")
    flows = [
        RED.frame(ip.udp(plan.lan(3, 4), plan.lan(2, 4), PROBE_PORT, b"x", sport=20000 + n))
        for n in range(60)
    ]
    RED.ce.send(*flows)
    assert until(lambda: entries("red") >= 60, 30.0, every=1.0)
    assert entries("red") <= plan.CONNTRACK_LIMIT + 10
    assert entries("blue") <= blue + 10
    text = scrape(desk)
    assert value(text, "bulkhead_conntrack_table_entries") >= 60
    assert value(text, "bulkhead_conntrack_table_size") > 1000


def test_cpp_03_drift_that_was_repaired_is_counted(desk: Management) -> None:
    name = "bulkhead_kernel_drift_repaired_total"
    before = value(scrape(desk), name)
    run_in("pe1", "nft", "flush", "chain", "inet", "bulkhead", "from_vpn")
    assert until(lambda: value(scrape(desk), name) > before, 30.0, every=0.5)


def test_mgmt_01_no_other_user_reads_the_metrics(desk: Management, net: Net) -> None:
    """No network leads to them, no other user of the machine reads them, and a node of which it is
    not asked has no such socket."""
    assert desk.metrics.stat().st_mode & 0o777 == 0o660
    tried = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-w",
         str(desk.metrics)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert tried.returncode == 1
    assert not (net.lab.dir("pe2") / "run/metrics.sock").exists()
