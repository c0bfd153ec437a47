"""Taking guards away under a stopped node, for the positive control of an attack.

The node is stopped (SIGSTOP), so nothing repairs what is missing; the kernel goes on forwarding
with what it has. Rules come from the product's own renderer, told to leave one guard out. On
leaving, all is put back and the node continues.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from controlplane.model.desired import Desired
from controlplane.model.events import IntentChanged, StoreWritten
from controlplane.model.instant import BootTime, Instant
from controlplane.model.label import LabelLedger
from controlplane.router import Router
from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net
from labs.namespaces import inside
from labs.waiting import until
from pe.config import load_config
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.model.guards import Guard
from pe.model.mark_code import MarkCode
from pe.nft.diff import transaction
from pe.nft.model import Ruleset
from pe.nft.text import text
from pe.process.clock import boot_id

SETTINGS: Mapping[Guard, Mapping[str, str]] = {
    Guard.SOCKETS: {f"ipv4/{p}_l3mdev_accept": "1" for p in ("tcp", "udp", "raw")},
    Guard.PIPE_MODE: {"mpls/ip_ttl_propagate": "1"},
}
PORT_SETTINGS = {
    "ipv4/conf/{}/arp_ignore": "0",
    "ipv4/conf/{}/send_redirects": "1",
    "ipv4/conf/{}/proxy_arp": "1",
    "ipv4/neigh/{}/proxy_delay": "0",
    "ipv6/conf/{}/accept_ra": "2",
}


START = Instant(0.0, 0.0, BootTime("lab", 0.0))


@contextlib.contextmanager
def standing_still(net: Net, node: str = "pe1") -> Iterator[None]:
    """A node does nothing meanwhile; its kernel state stays, and no transaction is under way."""
    pid = net.lab.pid(node, "pe")
    assert pid is not None, f"{node} does not run"  # noqa: S101
    os.kill(pid, signal.SIGSTOP)
    try:
        # A thread in a system call stops at its end.
        assert until(lambda: _all_stopped(pid), 10.0), f"{node} does not stop"  # noqa: S101
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _all_stopped(pid: int) -> bool:
    states = [
        each.read_text().rpartition(")")[2] for each in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return bool(states) and all(state.split()[0] == "T" for state in states)


class Switch:
    """The guards of one PE."""

    def __init__(self, net: Net, node: str = "pe1") -> None:
        self._net, self.node = net, node
        self._desired = self.desired()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The node does nothing meanwhile; its kernel state stays."""
        with standing_still(self._net, self.node):
            yield

    @contextlib.contextmanager
    def off(self, *guards: Guard) -> Iterator[None]:
        """These guards are missing meanwhile, and everything else is as it was."""
        without = frozenset(guards)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.stopped())
            full, less = self._rulesets(without)
            stack.callback(self._load, text(transaction(less, full)))
            self._load(text(transaction(full, less)))
            for path, value in self._settings(without).items():
                stack.callback(sysctl, self.node, path, sysctl(self.node, path))
                sysctl(self.node, path, value)
            if Guard.LAST_RESORT in without:
                stack.enter_context(self._no_last_resort())
            if Guard.LOCAL_RULE in without:
                stack.enter_context(self._local_rule_first())
            yield

    def desired(self) -> Desired:
        """What the node wants of its kernel, routes left out, from its own configuration."""
        ledger = LabelLedger(
            held={vrf.name: vrf.label for vrf in getattr(self._net, self.node).show_vrfs()}
        )
        intent = load_config(self._net.lab.dir(self.node) / "pe.yaml")
        desired = Desired()
        router = Router(ledger)
        for event in (IntentChanged(intent), StoreWritten()):
            desired.apply(router.handle([event], START).delta)
        return desired

    def _rulesets(self, without: frozenset[Guard]) -> tuple[Ruleset, Ruleset]:
        judged = self._judged()
        scope = RenderContext(
            self._desired,
            self._devices(),
            tracked=judged,
            judged=judged,
            code=MarkCode.of(boot_id()),
        )
        return ruleset(scope), ruleset(replace(scope, disabled=without))

    def _judged(self) -> frozenset[str]:
        """The VRFs that are under a policy, as the rules say: workloads put them there, and their
        addresses rest for a while when they are gone."""
        listed = run_in(self.node, "nft", "-t", "list", "table", "inet", "bulkhead", check=False)
        return frozenset(re.findall(r"^\tchain leak_(\S+) ", listed, re.M))

    def _load(self, lines: str) -> None:
        if lines:
            run_in(self.node, "nft", "-f", "-", stdin=lines)

    def _devices(self) -> set[str]:
        with inside(self.node):
            return {path.name for path in Path("/proc/sys/net/ipv4/neigh").iterdir()} - {"default"}

    def _settings(self, without: frozenset[Guard]) -> dict[str, str]:
        found: dict[str, str] = {}
        for guard in without:
            found |= SETTINGS.get(guard, {})
        if Guard.LABEL_INPUT in without:
            with inside(self.node):
                names = [path.name for path in Path("/proc/sys/net/mpls/conf").iterdir()]
            found |= {f"mpls/conf/{name}/input": "1" for name in names}
        if Guard.PORT_SYSCTLS in without:
            ports = self._desired.ce_ports
            found |= {t.format(port): v for port in ports for t, v in PORT_SETTINGS.items()}
            found["ipv4/conf/all/send_redirects"] = "1"
        return found

    @contextlib.contextmanager
    def _no_last_resort(self) -> Iterator[None]:
        tables = [vrf.table for vrf in self._desired.vrfs.values()]
        words = [(family, str(table)) for family in ("-4", "-6") for table in tables]
        kept = {w: self._unreachable(*w) for w in words}
        for (family, table), routes in kept.items():
            for route in routes:
                run_in(self.node, "ip", family, "route", "del", *route, "table", table)
        try:
            yield
        finally:
            for (family, table), routes in kept.items():
                for route in routes:
                    run_in(self.node, "ip", family, "route", "add", *route, "table", table)

    def _unreachable(self, family: str, table: str) -> list[list[str]]:
        listed = run_in(self.node, "ip", family, "route", "show", "table", table)
        lines = [line for line in listed.splitlines() if line.startswith("unreachable default")]
        return [_as_command(line) for line in lines]

    @contextlib.contextmanager
    def _local_rule_first(self) -> Iterator[None]:
        for family in ("-4", "-6"):
            run_in(self.node, "ip", family, "rule", "add", "pref", "0", "table", "local")
        try:
            yield
        finally:
            for family in ("-4", "-6"):
                run_in(self.node, "ip", family, "rule", "del", "pref", "0", "table", "local")


def _as_command(line: str) -> list[str]:
    """A line of ``ip route show`` as words that ``add`` takes: without information."""
    words = line.split()
    keep = []
    while words:
        word = words.pop(0)
        if word in ("pref", "error", "dev"):
            words.pop(0)
        else:
            keep.append(word)
    return keep
