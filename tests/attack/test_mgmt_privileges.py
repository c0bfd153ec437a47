"""MGMT-7: the node can do what it must and no more, and its BGP processes next to nothing."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net, circuit, ready
from labs.lab import RunningLab
from labs.waiting import until
from pe.process.privileges import DAC_READ_SEARCH, NEEDED, Capability, mask, others_reach
from tests.attack.management import children

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging/systemd/bulkhead.service"
PYTHON = Path(sys.executable)
BIND = 1 << Capability.NET_BIND_SERVICE
SYS_ADMIN = 1 << 21


def told(status: str) -> dict[str, int]:
    """Capability sets of a ``/proc/PID/status``, and whether it can get more."""
    found = {m[1]: int(m[2], 16) for m in re.finditer(r"^(Cap\w+):\t(\w+)$", status, re.MULTILINE)}
    match = re.search(r"^NoNewPrivs:\t(\d)$", status, re.MULTILINE)
    return {**found, "NoNewPrivs": int(match[1]) if match else -1}


def statuses(pid: int | None) -> list[dict[str, int]]:
    """Of every thread of a process."""
    return [told(file.read_text()) for file in Path(f"/proc/{pid}/task").glob("*/status")]


def node_is_bounded(net: Net, node: str = "pe1") -> None:
    """Six, and one more only where it runs from a place that is closed to its BGP processes."""
    kept = mask(NEEDED if others_reach(PYTHON) else {*NEEDED, DAC_READ_SEARCH})
    expected = {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": 0}
    threads = statuses(net.lab.pid(node, "pe"))
    assert len(threads) >= 3
    for thread in threads:
        assert thread == {**expected, "NoNewPrivs": 1}


@pytest.mark.parametrize("node", ["pe1", "pe2"])
def test_mgmt_07_the_node_keeps_six_capabilities(net: Net, node: str) -> None:
    """Start it as root with all capabilities: the node itself drops those that it does not need."""
    mine = told(Path(f"/proc/{os.getpid()}/status").read_text())
    assert mine["CapEff"] & SYS_ADMIN, "control: the process that starts it has more"
    assert mine["CapBnd"] & SYS_ADMIN, "control"
    node_is_bounded(net, node)


def test_mgmt_07_bgp_processes_keep_one(net: Net) -> None:
    speakers = children(net.lab.pid("pe1", "pe"), "controlplane.speaker.worker")
    assert len(speakers) == 3, "one for the core, one for each VRF with neighbours"
    others = {0}
    only = {"CapInh": BIND, "CapPrm": BIND, "CapEff": BIND, "CapBnd": BIND, "CapAmb": BIND}
    for process in speakers:
        for thread in statuses(process):
            assert thread == {**only, "NoNewPrivs": 1}
        text = Path(f"/proc/{process}/status").read_text()
        uids = set(map(int, text.partition("\nUid:\t")[2].split("\n")[0].split()))
        assert len(uids) == 1
        assert uids.isdisjoint(others), "each has a user of its own"
        others |= uids
        groups = text.partition("\nGroups:\t")[2].split("\n")[0].split()
        assert groups == []


def test_mgmt_07_compute_workers_keep_none(net: Net) -> None:
    """They read documents that callers send."""
    net.pe1.segment.list_workloads()  # the first query starts one
    workers = children(net.lab.pid("pe1", "pe"), "controlplane.api.compute.worker")
    assert workers
    for process in workers:
        for thread in statuses(process):
            assert {value for name, value in thread.items() if name != "NoNewPrivs"} == {0}
            assert thread["NoNewPrivs"] == 1
        text = Path(f"/proc/{process}/status").read_text()
        assert set(text.partition("\nUid:\t")[2].split("\n")[0].split()) == {"65534"}


@contextlib.contextmanager
def installed_for_all() -> Iterator[None]:
    """The way to the interpreter is open to every user meanwhile, as it is to /opt."""
    folders = {*PYTHON.absolute().parents, *PYTHON.resolve().parents}
    closed = {f: f.stat().st_mode for f in folders if not f.stat().st_mode & stat.S_IXOTH}
    for folder, mode in closed.items():
        folder.chmod(mode | stat.S_IXOTH)
    try:
        yield
    finally:
        for folder, mode in closed.items():
            folder.chmod(mode)


@pytest.fixture
def earlier(net: Net) -> int:
    """How long pe1's journal was before this test: other tests have had calls refused."""
    return len(net.lab.log("pe1", "pe"))


@pytest.fixture
def confined(net: Net, earlier: int) -> Iterator[RunningLab]:
    """pe1 is run as its unit would have it run, and as before again afterwards."""
    assert earlier >= 0
    program = net.lab.program("pe1", "pe")
    runner = (sys.executable, str(ROOT / "tests/attack/confined.py"))
    argv = (*runner, str(UNIT), str(net.lab.dir("pe1")), *program.argv)
    net.lab.stop("pe1", "pe")
    with installed_for_all():
        try:
            net.lab.start("pe1", replace(program, argv=argv))
            net.reconnect()
            yield net.lab
        finally:
            net.lab.stop("pe1", "pe")
    net.lab.start("pe1", program)
    net.reconnect()
    ready(net)


def test_mgmt_07_the_unit_leaves_the_node_all_that_it_needs(
    net: Net, confined: RunningLab, earlier: int
) -> None:
    """Under the unit's bounding set, read-only file system, system calls and address families
    sessions come up, customers' packets pass, drift is repaired, a reload is taken, and a new
    ruleset is loaded."""
    try:
        ready(net)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{confined.log('pe1', 'pe')[-3000:]}") from None
    node_is_bounded(net)
    pid = confined.pid("pe1", "pe")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nSeccomp:\t2\n" in status, "control: calls are filtered"
    tried = confined.run("pe1", "nsenter", "-t", str(pid), "-m", "touch", "/etc/x", check=False)
    assert "Read-only" in tried.stderr, "control: the file system is read-only for the node"
    sysctl("pe1", "ipv4/conf/ce-red-1/arp_ignore", "0")
    assert until(lambda: sysctl("pe1", "ipv4/conf/ce-red-1/arp_ignore") == "1", 30.0)
    run_in("pe1", "nft", "flush", "chain", "inet", "bulkhead", "from_vpn")
    assert until(lambda: "sessions4" in run_in("pe1", "nft", "list", "chain", "inet",
                                               "bulkhead", "from_vpn"), 30.0)  # fmt: skip
    net.pe1.reload()
    net.sentinel(circuit("red", 1))
    lines = confined.log("pe1", "pe")[earlier:].splitlines()
    assert any("event=in_sync" in line for line in lines), "control: its lines are these"
    denied = [line for line in lines if "not permitted" in line]
    assert denied == []
