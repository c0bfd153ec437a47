"""Test MGMT-1, -3, -5, -6: no outsider changes a node in its default configuration or reads its
secrets (RFC 4364 section 13.3)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from bulkhead.client import connect

from controlplane.api.access.audit_chain import first_break
from labs.attack import ip, plan
from labs.attack.inside import run_in
from labs.attack.net import Net, circuit, ready
from labs.attack.who import Attacker, attackers
from labs.peers.pe import command
from labs.waiting import until
from tests.attack.management import children, refused

SECRETS = tuple(plan.KEYS.values())
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("node", ["pe1", "pe2"])
def test_mgmt_01_the_api_is_a_socket_file(net: Net, node: str) -> None:
    """Listen on no network at all: the node's TCP listeners are BGP's, each in its VRF, and the
    metrics have no listener."""
    listed = run_in(node, "ss", "-Htlnp").splitlines()
    ports = {re.split(r"\s+", line)[3].rpartition(":")[2] for line in listed}
    assert ports <= {"179"}, listed
    assert run_in(node, "ss", "-Huln").split() == []
    run = net.lab.dir(node) / "run"
    mode = (run / "api.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o007 == 0, "other users may not write to it"
    open_to_others = [f.name for f in run.iterdir() if f.is_socket() and f.name != "api.sock"]
    assert open_to_others == []


@pytest.mark.parametrize("attacker", attackers(), ids=lambda a: a.name)
def test_mgmt_01_no_customer_reaches_a_management_port(net: Net, attacker: Attacker) -> None:
    with attacker.port.tap() as tap:
        for port in (22, 443, 830, 2379, 50051):
            for source, gateway in zip(attacker.sources, attacker.gateways, strict=True):
                attacker.port.send(attacker.frame(ip.tcp(source, gateway, port)))
        net.sentinel(circuit("red", 1))
        answers = [f for f in tap.frames() if f[12:14] == b"\x08\x00" and f[23] == ip.TCP]
        assert answers == []


def test_mgmt_03_the_socket_is_not_open_to_every_user(net: Net) -> None:
    """Another user of the machine gets no answer."""
    socket = net.lab.dir("pe1") / "run/api.sock"
    mine = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-w")
    done = subprocess.run([*mine, str(socket)], timeout=20, check=False)
    assert done.returncode == 1
    assert os.access(socket, os.W_OK), "control: root gets one"


# -- MGMT-5: names --------------------------------------------------------------------------------

NAMES = ('red"; flush ruleset; #', "red\nadd rule", "r{}", "$(id)", "../red", "r\u00e9d", "a" * 40,
         "-o", "red blue", "lo", "all", "default", "r\0d", "'")  # fmt: skip


NO_DEVICES = ("a" * 40, "lo", "all", "default")
"""Names that a workload may have, since it is none."""


def fingerprint(node: str) -> list[str]:
    """The whole ruleset, without what packets change and in no order: a port that was gone for a
    while has its chains behind the others."""
    rules = run_in(node, "nft", "-s", "-t", "list", "ruleset").splitlines()
    ports = run_in(node, "nft", "-s", "list", "map", "inet", "bulkhead", "arrivals")
    return sorted(rules) + sorted(re.split(r"[\s,]+", ports))


def test_mgmt_05_names_that_would_be_more_than_names(net: Net) -> None:
    """Refuse invalid names, from the configuration and over gRPC, because names become parts of
    devices, files and rules; the kernel's state does not change."""
    file = net.lab.dir("pe1") / "pe.yaml"
    text, rules = file.read_text(), fingerprint("pe1")
    devices = run_in("pe1", "ip", "-br", "link")
    answers = {}
    for name in NAMES:
        for place, quoted in (("vrf", "  red:\n"), ("port", "      ce-red-1:\n")):
            indent = quoted[: len(quoted) - len(quoted.lstrip())]
            file.write_text(text.replace(quoted, f"{indent}{json.dumps(name)}:\n", 1))
            answers[place, name] = refused(net.pe1.reload)
    file.write_text(text)
    taken = {key for key, code in answers.items() if code is not INVALID}
    # These are names of devices, on which a port may be made if there is one.
    assert taken <= {("port", n) for n in ("r{}", "$(id)", "-o", "'")}, taken
    attach = net.pe1.segment.attach
    for name in (*NAMES, "Red"):
        if name not in NO_DEVICES:
            code = refused(partial(attach, name, "red", "ce-red-3", ["10.3.0.9"], {}))
            assert code is INVALID, name
        code = refused(partial(attach, "x", name, "ce-red-3", ["10.3.0.9"], {}))
        assert code is grpc.StatusCode.NOT_FOUND, name
    assert net.pe1.segment.list_workloads() == []
    net.pe1.reload()
    # Where a port got another name the one that it had was taken down meanwhile.
    assert until(lambda: run_in("pe1", "ip", "-br", "link") == devices, 60.0, every=0.5)
    assert until(lambda: fingerprint("pe1") == rules, 20.0)


# -- MGMT-6: the audit log, and secrets -----------------------------------------------------------


def entries(net: Net) -> list[str]:
    return (net.lab.dir("pe1") / "state/audit.log").read_text().splitlines()


@contextlib.contextmanager
def changing(net: Net, done: list[str]) -> Iterator[None]:
    """Make one change after another in a thread, and record those that the node confirmed."""
    over = threading.Event()

    def change() -> None:
        with connect(str(net.lab.dir("pe1") / "run/api.sock"), timeout=20) as node:
            while not over.is_set():
                name = f"w{len(done)}"
                try:
                    node.segment.attach(name, "red", "ce-red-3", ["10.3.0.19"], {})
                    done.append(name)
                    node.segment.detach(name)
                except grpc.RpcError:
                    time.sleep(0.05)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def test_mgmt_06_the_audit_log_survives_kill_9(net: Net) -> None:
    """Find every confirmed change in the log after the node was killed in the middle of changes;
    the chain is unbroken and continues."""
    before, done = len(entries(net)), list[str]()
    with changing(net, done):
        assert until(lambda: len(done) >= 5, 60.0)
        net.lab.stop("pe1", "pe", signal.SIGKILL)
    acknowledged = len(done)
    net.lab.start("pe1", net.lab.program("pe1", "pe"))
    net.reconnect()
    ready(net)
    lines = entries(net)
    assert first_break(lines) is None
    told = [json.loads(line) for line in lines[before:]]
    ended = [e["request"] for e in told if e["phase"] == "ended" and e["result"] == "OK"
             and e["method"].endswith("/AttachWorkload")]  # fmt: skip
    for name in done[:acknowledged]:
        assert any(f'"{name}"' in request for request in ended), name
    assert {e["who"] for e in told} == {"uid:0"}
    for name in (w.name for w in net.pe1.segment.list_workloads()):
        net.pe1.segment.detach(name)
    assert first_break(entries(net)) is None
    assert len(entries(net)) >= len(lines)


SHOWN = ("status", "vrfs", "neighbors", "routes", "labels", "nexthops", "ports", "counters",
         "guards")  # fmt: skip


def test_mgmt_06_no_secret_is_disclosed(net: Net) -> None:
    """Logs, audit, command lines, environments, what is stored and what is shown know no key."""
    place = net.lab.dir("pe1")
    net.pe1.reload()
    net.pe1.clear_neighbor("192.168.1.2", "red")
    told = {str(f): f.read_text(errors="replace") for f in place.glob("*.log")}
    told |= {str(f): f.read_bytes().decode(errors="replace")
             for f in place.glob("state/*") if f.is_file()}  # fmt: skip
    pid = net.lab.pid("pe1", "pe")
    for process in (pid, *children(pid)):
        for kind in ("cmdline", "environ"):
            told[f"{process} {kind}"] = Path(f"/proc/{process}/{kind}").read_text(errors="replace")
    for what in SHOWN:
        argv = (command(), "show", what, "--json", "--socket", str(place / "run/api.sock"))
        told[f"show {what}"] = run_in("pe1", *argv)
    assert any("audit.log" in where for where in told)
    assert any("configuration_loaded" in text for text in told.values())
    assert len(told) >= 12 + len(SHOWN)
    keys = {form for s in SECRETS
            for form in (s, base64.b64encode(s.encode()).decode(), s.encode().hex())}  # fmt: skip
    assert [(where, s) for where, text in told.items() for s in keys if s in text] == []
    yaml = (place / "pe.yaml").read_text()
    assert all(s in yaml for s in SECRETS), "control: these are the keys in use"
