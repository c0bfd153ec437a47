"""FAIL-5: what another program changes in the kernel behind the node's back is put right."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

import pytest

from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net, circuit
from labs.attack.spoof import spoofed
from labs.attack.switch import Switch
from labs.namespaces import inside as entered
from labs.waiting import until
from pe.netlink import codec as nl
from pe.netlink.ownership import TABLE
from pe.nft.diff import Simple
from pe.nft.model import TableId
from pe.nft.socket import NETLINK_NETFILTER, RulesetWriter
from tests.attack.node_state import counter
from tests.attack.speech import log_tail
from tests.attack.trial import Attack, held

RED, BLUE, NEAR = circuit("red", 1), circuit("blue", 1), circuit("red", 3)


def nft_gone(family: str) -> Callable[[], bool]:
    return lambda: run_in("pe1", "nft", "list", "table", family, "bulkhead", check=False) == ""


def setting(path: str, bad: str) -> tuple[Callable[[], object], Callable[[], bool]]:
    return (lambda: sysctl("pe1", path, bad)), (lambda: sysctl("pe1", path) == bad)


def said(words: str, *command: str) -> Callable[[], bool]:
    return lambda: words in run_in("pe1", *command)


def does(command: str) -> Callable[[], object]:
    return lambda: run_in("pe1", "sh", "-ec", command.format(**RED_NOW))


# What another process changes in pe1's kernel, and a check that it is changed.
DRIFT: dict[str, tuple[Callable[[], object], Callable[[], bool]]] = {
    "netdev-table": (does("nft delete table netdev bulkhead"), nft_gone("netdev")),
    "inet-table": (does("nft delete table inet bulkhead"), nft_gone("inet")),
    "flush-ruleset": (does("nft flush ruleset"), nft_gone("netdev")),
    "one-rule": (
        does("nft insert rule netdev bulkhead ce_ce-red-1 accept"),
        said("\t\taccept", "nft", "list", "chain", "netdev", "bulkhead", "ce_ce-red-1"),
    ),
    "an-element": (
        does("nft add element inet bulkhead arrivals '{{ \"hot0\" : accept }}'"),
        said("hot0", "nft", "list", "map", "inet", "bulkhead", "arrivals"),
    ),
    "local-rule-first": (
        does("ip rule add pref 0 table local"),
        said("0:\tfrom all lookup local", "ip", "rule"),
    ),
    "local-rule-first-6": (
        does("ip -6 rule add pref 0 table local"),
        said("\n0:\tfrom all lookup local", "sh", "-c", "echo; ip -6 rule"),
    ),
    "l3mdev-rule": (
        does("ip rule del pref 1000 || true; ip rule del pref 1000 || true"),
        lambda: "1000:" not in run_in("pe1", "ip", "rule"),
    ),
    "last-resort": (
        does("ip route del unreachable default table {table} metric 4278198272"),
        lambda: "unreachable" not in run_in("pe1", "ip", "route", "show", "vrf", "red"),
    ),
    "label-input": setting("mpls/conf/ce-red-1/input", "1"),
    "label-input-lo": setting("mpls/conf/lo/input", "1"),
    "uniform-mode": setting("mpls/ip_ttl_propagate", "1"),
    "l3mdev-accept": setting("ipv4/tcp_l3mdev_accept", "1"),
    "redirects": setting("ipv4/conf/all/send_redirects", "1"),
    "proxy-arp": setting("ipv4/conf/ce-red-1/proxy_arp", "1"),
    "proxy-arp-all": setting("ipv4/conf/all/proxy_arp", "1"),
    "route-localnet-all": setting("ipv4/conf/all/route_localnet", "1"),
    "directed-broadcast-all": setting("ipv4/conf/all/bc_forwarding", "1"),
    "directed-broadcast": setting("ipv4/conf/ce-red-1/bc_forwarding", "1"),
    "proxy-nd-all": setting("ipv6/conf/all/proxy_ndp", "1"),
    "segment-routing": setting("ipv6/conf/ce-red-1/seg6_enabled", "1"),
    "out-of-its-vrf": (
        does("ip link set ce-red-3 nomaster"),
        lambda: "master red" not in run_in("pe1", "ip", "-o", "link", "show", "ce-red-3"),
    ),
    "into-another-vrf": (
        does("ip link set ce-red-3 master blue"),
        said("master blue", "ip", "-o", "link", "show", "ce-red-3"),
    ),
    "an-address": (
        does("ip addr add 10.66.6.1/24 dev ce-red-3"),
        said("10.66.6.1", "ip", "-o", "addr", "show", "dev", "ce-red-3"),
    ),
    "label-route": (
        does("ip -f mpls route replace {label} dev blue"),
        lambda: f"{RED_NOW['label']} dev blue" in run_in("pe1", "ip", "-f", "mpls", "route"),
    ),
}
RED_NOW: dict[str, int] = {"table": 0, "label": 0}
REPAIR_SECONDS = 20.0


@pytest.mark.parametrize(("meddle", "is_bad"), DRIFT.values(), ids=DRIFT)
def test_fail_05_what_others_change_is_put_right(
    net: Net, meddle: Callable[[], object], is_bad: Callable[[], bool]
) -> None:
    """Repair every kind of change within seconds (more on a busy machine); guards hold again."""
    red = next(v for v in net.pe1.show_vrfs() if v.name == "red")
    RED_NOW.update(table=red.table, label=red.label)
    with Switch(net).stopped():
        meddle()
        assert is_bad(), "control: it is changed"
    assert until(lambda: not is_bad(), REPAIR_SECONDS, every=0.1), log_tail(net)
    assert until(lambda: net.passes(RED, circuit("red", 2), tries=1), 10.0)
    frames = spoofed(RED.ce, RED.pe.mac, [net.label("blue")])
    held(net, Attack(RED.ce, frames, BLUE.ce, RED))
    assert until(lambda: net.passes(NEAR, circuit("red", 2), tries=1), 10.0)


def test_fail_05_what_others_change_right_behind_a_load(net: Net) -> None:
    """Delete the ruleset as soon as the kernel says that the node has loaded it, before the node
    has read it back: it does not take the deletion for its own change."""
    at_once = 0
    for _ in range(ROUNDS):
        before = counter(net, "kernel_drift_repaired")
        with Switch(net).stopped():
            does("nft delete table netdev bulkhead")()
            meddler = Meddler()
        assert until(meddler.done.is_set, REPAIR_SECONDS, every=0.1), log_tail(net)
        meddler.join()
        assert until(lambda: not nft_gone("inet")(), REPAIR_SECONDS, every=0.1), log_tail(net)
        assert not nft_gone("netdev")()
        # What was deleted later is found by a check, and counted as the first deletion was.
        at_once += counter(net, "kernel_drift_repaired") == before + 1
    assert at_once, "the deletion came too late for the node's own look, each time"
    held(net, Attack(RED.ce, spoofed(RED.ce, RED.pe.mac, [net.label("blue")]), BLUE.ce, RED))


ROUNDS = 5
NFTABLES_GROUP = 7
"""NFNLGRP_NFTABLES."""


class Meddler(threading.Thread):
    """Deletes a table when the kernel next reports a change of the ruleset."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()
        with entered("pe1"):
            self._events = nl.NetlinkSocket(NETLINK_NETFILTER, groups=(NFTABLES_GROUP,))
            self._writer = RulesetWriter()
        self.start()

    def run(self) -> None:
        """Wait, and delete."""
        select.select([self._events.socket], [], [], REPAIR_SECONDS)
        self._writer.apply([Simple("delete", "table", TableId("inet", TABLE))])
        self.done.set()
        self._events.close()
        self._writer.close()
