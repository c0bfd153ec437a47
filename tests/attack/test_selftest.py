"""Test ``pe selftest`` on a working node: its results are right, and traffic is not disturbed."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import grpc
import pytest
from bulkhead.client import connect
from bulkhead.v1 import selftest_pb2 as pb

from labs.attack.edit import edited, with_vrf
from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net, circuit, ready
from labs.attack.port import token
from labs.peers.pe import command
from labs.topology import Program
from labs.waiting import until
from pe.selftest.world import PREFIX, TAPS
from tests.attack.node_state import rules

HELD, NOT_HELD = pb.Trial.VERDICT_HELD, pb.Trial.VERDICT_NOT_HELD
NOT_TESTED = pb.Trial.VERDICT_NOT_TESTED
PATIENCE = 120.0


def run(net: Net) -> pb.RunSelftestResponse:
    with connect(str(net.lab.dir("pe1") / "run/api.sock"), timeout=PATIENCE) as node:
        return node.selftest()


def told(trials: list[pb.Trial]) -> str:
    """Trials as a failing test shows them."""
    return "\n".join(
        f"{t.requirement} {t.sent} v{t.family} {pb.Trial.Verdict.Name(t.verdict)} {t.counter} "
        f"{t.packets_before}->{t.packets_after}: {t.evidence}"
        for t in trials
    )


def kernel(net: Net) -> dict[str, str]:
    """Return all that pe1's kernel holds for its customers, without what counts or ages."""
    commands = {
        "links": "ip -o link",
        "addresses": "ip -o addr",
        "rules": "ip rule; ip -6 rule",
        # What "expires" is learned: path MTUs of other tests.
        "routes": "(ip route show table all; ip -6 route show table all) | grep -v expires",
        "next hops": "ip nexthop",
        "labels": "ip -f mpls route",
    }
    found = {name: run_in("pe1", "sh", "-ec", command) for name, command in commands.items()}
    return found | {"guards": "\n".join(rules(net))}


def leftovers(net: Net) -> dict[str, list[str]]:
    """Return lines about a selftest, by what they are found in."""
    found = {
        name: [line for line in text.splitlines() if PREFIX in line]
        for name, text in kernel(net).items()
    }
    return {name: lines for name, lines in found.items() if lines}


@dataclass
class Stream:
    """An honest packet every few milliseconds, until it is stopped."""

    net: Net
    sent: list[bytes] = field(default_factory=list)
    _going: bool = True

    def run(self) -> None:
        ends = circuit("red", 1), circuit("red", 2)
        while self._going:  # a selftest takes some tenths of a second
            mark = token()
            self.sent.append(mark)
            ends[0].ce.send(self.net.legitimate(*ends, 4, mark))
            time.sleep(0.001)

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._going = False
            thread.join()


def test_selftest_all_guards_hold_and_no_customer_notices(net: Net) -> None:
    """While a customer's packets flow: none is lost, and afterwards all is as before."""
    net.sentinel(circuit("red", 1))
    before, routes = kernel(net), routes_of(net)
    stream = Stream(net)
    with circuit("red", 2).ce.tap() as tap:
        with stream.flowing():
            report = run(net)
        assert until(lambda: tap.count(stream.sent[-1]) == 1, 5.0)
        arrived = b"".join(frame for frame in tap.frames() if b"token" in frame)
    lost = [mark for mark in stream.sent if mark not in arrived]
    assert len(stream.sent) > 50
    assert lost == [], f"{len(lost)} of {len(stream.sent)} lost"
    assert {n: t for n, t in kernel(net).items() if t != before[n]} == {}
    assert routes_of(net) == routes
    assert_all_held(report)


def routes_of(net: Net) -> list[tuple[str, str, str]]:
    """Return the routes of both PEs, including those that one received from the other."""
    return sorted(
        (route.vrf, route.prefix, route.next_hop)
        for node in (net.pe1, net.pe2)
        for route in node.show_routes()
    )


def assert_all_held(report: pb.RunSelftestResponse) -> None:
    bad = [t for t in report.trials if t.verdict not in (HELD, NOT_TESTED)]
    assert bad == [], told(bad)
    assert report.passed
    tried = {t.requirement for t in report.trials if t.verdict == HELD}
    assert len(tried) >= 30, sorted(tried)
    assert {f"LBL-{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17)} < tried
    assert {name.partition("-")[0] for name in tried} >= {"ISO", "HIDE", "ACL", "CPP", "SPF"}
    counted = [t for t in report.trials if t.counter]
    assert len(counted) > 80
    assert [t for t in counted if t.packets_after <= t.packets_before] == []
    untested = [t for t in report.trials if t.verdict == NOT_TESTED]
    assert all(t.evidence for t in untested)


def test_selftest_the_report_is_evidence(net: Net) -> None:
    """The command, its table, its JSON, its exit status; and the audit log has it."""
    socket = f"BULKHEAD_SOCKET={net.lab.dir('pe1')}/run/api.sock"
    report = json.loads(net.lab.run("pe1", "env", socket, command(), "selftest", "--json",
                                    timeout=PATIENCE).stdout)  # fmt: skip
    digest = net.lab.run("pe1", "sha256sum", str(net.lab.dir("pe1") / "pe.yaml")).stdout.split()[0]
    assert report["config_digest"] == digest
    assert report["passed"] is True
    assert report["kernel"].startswith("Linux ")
    assert abs(report["ended_unix"] - time.time()) < 300
    lines = (net.lab.dir("pe1") / "state/audit.log").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["method"], last["result"]) == ("/bulkhead.v1.Selftest/RunSelftest", "OK")
    assert last["after"].startswith(f"held {report['held']}, not held 0")


WEAKENED = (
    "edge", "egress", "explicit-null", "unknown-port", "input", "last-resort", "local-rule",
    "label-input", "port-sysctls", "sockets", "pipe-mode",
)  # fmt: skip
# Held by the kernel itself, with or without the guards.
NATURAL = {"ISO-1", "HIDE-3", "LBL-9", "LBL-10", "LBL-12", "TRN-1", "TRN-3"}


@contextlib.contextmanager
def restarted(net: Net, program: Program) -> Iterator[None]:
    """pe1 run otherwise for the length of a block."""
    net.lab.stop("pe1", "pe")
    net.lab.start("pe1", program)
    net.reconnect()
    try:
        assert until(lambda: net.pe1.status().in_sync, PATIENCE, every=0.5)
        yield
    finally:
        net.lab.stop("pe1", "pe")
        net.lab.start("pe1", net.lab.program("pe1", "pe"))
        net.reconnect()
        assert until(lambda: net.pe1.status().in_sync, PATIENCE, every=0.5)
        ready(net)


def without(net: Net, *guards: str) -> Program:
    program = net.lab.program("pe1", "pe")
    options = [word for guard in guards for word in ("--without-guard", guard)]
    return replace(program, argv=(*program.argv, *options))


def test_selftest_sees_each_guard_that_is_missing(net: Net) -> None:
    """Every trial that can fail does, on a node without guards."""
    with restarted(net, without(net, *WEAKENED)):
        opened = {
            "mpls/ip_ttl_propagate": "1", "ipv4/tcp_l3mdev_accept": "1",
            "ipv4/conf/all/send_redirects": "1",
        }  # fmt: skip
        for path, value in opened.items():
            sysctl("pe1", path, value)
        for family in ("-4", "-6"):
            run_in("pe1", "ip", family, "rule", "add", "pref", "0", "table", "local")
        try:
            report = run(net)
        finally:
            for family in ("-4", "-6"):
                run_in("pe1", "ip", family, "rule", "del", "pref", "0", "table", "local")
    assert not report.passed
    tried = {t.requirement for t in report.trials if t.verdict != NOT_TESTED}
    missed = {t.requirement for t in report.trials if t.verdict == NOT_HELD}
    held = [t for t in report.trials if t.requirement in tried - missed - NATURAL]
    assert held == [], told(held)
    came_out = {t.requirement for t in report.trials if "came out at" in t.evidence}
    assert {"LBL-16"} <= came_out, told(list(report.trials))


def test_selftest_a_guard_is_missed_although_another_holds(net: Net) -> None:
    """Remove the allow-list: no label gets in, as label input is off; the failure is reported."""
    with restarted(net, without(net, "edge")):
        report = run(net)
    by_name = {t.requirement: t for t in report.trials if t.verdict == NOT_HELD}
    assert {"LBL-1", "LBL-2", "SPF-2", "HIDE-4", "CPP-2"} <= by_name.keys(), told(
        list(report.trials)
    )
    assert by_name["LBL-1"].evidence == "no such guard is in force"
    held = {t.requirement for t in report.trials if t.verdict == HELD}
    assert {"ACL-1", "BGP-3", "HIDE-7", "LBL-17", "FAIL-1"} <= held, told(list(report.trials))


@contextlib.contextmanager
def under_way(net: Net) -> Iterator[list[grpc.StatusCode | bool]]:
    """A selftest that has begun; in the end, how it ended: passed or not, or refused."""
    ended: list[grpc.StatusCode | bool] = []

    def ask() -> None:
        try:
            ended.append(run(net).passed)
        except grpc.RpcError as error:
            ended.append(error.code())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert until(is_at_work, PATIENCE, every=0.01), "it did not begin"
        yield ended
    finally:
        thread.join()


def is_at_work() -> bool:
    """Its ports are there and have counted something."""
    listed = run_in("pe1", "nft", "-j", "list", "counters", "table", "netdev", "bulkhead")
    found = (o["counter"] for o in json.loads(listed)["nftables"] if "counter" in o)
    return any(c["packets"] for c in found if PREFIX in c["name"])


def test_selftest_one_at_a_time(net: Net) -> None:
    with under_way(net) as ended:
        with pytest.raises(grpc.RpcError) as refused:
            run(net)
        assert refused.value.code() is grpc.StatusCode.ABORTED
    assert ended == [True]
    assert leftovers(net) == {}


def test_selftest_a_caller_who_goes_away(net: Net) -> None:
    """The test ends by itself, is cleared up, and another one can be made."""
    socket = str(net.lab.dir("pe1") / "run/api.sock")
    with connect(socket, timeout=0.05) as hasty, pytest.raises(grpc.RpcError):
        hasty.selftest()
    assert until(lambda: leftovers(net) == {}, PATIENCE, every=0.2), leftovers(net)
    assert until(lambda: run_again(net), PATIENCE, every=0.5)


def run_again(net: Net) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return run(net).passed
    return False


def test_selftest_a_reload_ends_it(net: Net) -> None:
    with under_way(net) as ended, edited(net, lambda text: text + with_vrf("violet", 8)):
        pass
    assert ended == [grpc.StatusCode.FAILED_PRECONDITION]
    assert until(lambda: leftovers(net) == {}, 20.0, every=0.2), leftovers(net)


def test_selftest_killed_in_the_middle(net: Net) -> None:
    """``kill -9``: its ports go with the node; all else of it at the next start."""
    before = kernel(net)
    with under_way(net) as ended:
        net.lab.stop("pe1", "pe", signal=9)
    assert ended == [grpc.StatusCode.UNAVAILABLE]
    links = run_in("pe1", "ip", "-o", "link")
    assert [tap for tap in TAPS if tap in links] == []
    assert PREFIX in links, "control: the VRFs are still there"
    net.lab.start("pe1", net.lab.program("pe1", "pe"))
    net.reconnect()
    assert until(lambda: leftovers(net) == {}, PATIENCE, every=0.5), leftovers(net)
    assert until(lambda: net.pe1.status().in_sync, PATIENCE, every=0.5)
    ready(net)
    assert until(
        lambda: {n for n, t in kernel(net).items() if t != before[n]} <= {"next hops", "routes"},
        20.0,
    ), {n: t for n, t in kernel(net).items() if t != before[n]}
    net.sentinel(circuit("red", 1))
