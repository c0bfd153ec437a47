"""MGMT: nobody outside changes the node or reads its secrets (RFC 4364 13.3).

TLS, certificates, roles and limits of the API are attacked in tests/unit/api, where no kernel is
needed; here is what only a running node shows.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from labs.attack import ip, plan
from labs.attack.inside import run_in
from labs.attack.net import Net, circuit
from labs.attack.who import Attacker, attackers
from labs.peers.pe import command

SECRETS = tuple(plan.KEYS.values())


def test_mgmt_01_the_api_is_a_socket_file(net: Net) -> None:
    """It listens on no network at all: the node's TCP listeners are BGP's, each in its VRF."""
    listed = run_in("pe1", "ss", "-Htlnp").splitlines()
    ports = {re.split(r"\s+", line)[3].rpartition(":")[2] for line in listed}
    assert ports <= {"179"}, listed
    datagrams = run_in("pe1", "ss", "-Huln").split()
    assert datagrams == []
    socket = net.lab.dir("pe1") / "run/api.sock"
    mode = socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o007 == 0, "nobody else may write to it"


@pytest.mark.parametrize("attacker", attackers(), ids=lambda a: a.name)
def test_mgmt_01_no_customer_reaches_a_management_port(net: Net, attacker: Attacker) -> None:
    with attacker.port.tap() as tap:
        for port in (22, 443, 830, 2379, 50051):
            for source, gateway in zip(attacker.sources, attacker.gateways, strict=True):
                attacker.port.send(attacker.frame(ip.tcp(source, gateway, port)))
        net.sentinel(circuit("red", 1))
        answers = [f for f in tap.frames() if f[12:14] == b"\x08\x00" and f[23] == ip.TCP]
        assert answers == []


NAMES = ("red;reboot", 'red"', "red\n", "r{}", "$(id)", "../red", "ré", "a" * 40, "-o", "red blue",
         "lo", "all", "default")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_mgmt_05_names_that_would_be_more_than_names(net: Net, name: str, tmp_path: Path) -> None:
    """A name goes into devices, files and rules: what is not plainly a name is refused whole."""
    text = (net.lab.dir("pe1") / "pe.yaml").read_text()
    quoted = "'" + name.replace("'", "''").replace("\n", "\\n") + "'"
    file = tmp_path / "pe.yaml"
    file.write_text(text.replace("  red:\n", f"  {quoted}:\n"))
    done = subprocess.run([command(), "check", str(file)], capture_output=True, text=True,
                          timeout=30, check=False)  # fmt: skip
    assert done.returncode != 0
    assert not Path("/proc/self").joinpath("pwned").exists()


def test_mgmt_06_no_secret_is_told(net: Net) -> None:
    """Logs, command lines, environments and the API know no key."""
    place = net.lab.dir("pe1")
    told = {str(f): f.read_text(errors="replace") for f in place.glob("*.log")}
    told |= {str(f): f.read_text(errors="replace") for f in place.glob("state/*audit*")}
    pid = net.lab.pid("pe1", "pe")
    for process in (pid, *children(pid)):
        for kind in ("cmdline", "environ"):
            told[f"{process} {kind}"] = Path(f"/proc/{process}/{kind}").read_text(errors="replace")
    told["neighbors"] = str(net.pe1.show_neighbors())
    assert len(told) >= 9
    assert [(where, s) for where, text in told.items() for s in SECRETS if s in text] == []


def children(pid: int | None) -> list[int]:
    """The processes that a node has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in text:
            found.append(int(status.parent.name))
    return found


def test_mgmt_07_speakers_have_no_privilege(net: Net) -> None:
    """What talks to customers is nobody, with no capability but that for port 179, if that."""
    speakers = children(net.lab.pid("pe1", "pe"))
    assert len(speakers) >= 3
    for process in speakers:
        text = Path(f"/proc/{process}/status").read_text()
        uid = int(text.partition("\nUid:\t")[2].split()[0])
        capabilities = int(text.partition("\nCapEff:\t")[2].split()[0], 16)
        assert uid != 0
        assert capabilities & ~(1 << 10) == 0, hex(capabilities)  # CAP_NET_BIND_SERVICE
        assert "\nNoNewPrivs:\t1" in text


def test_mgmt_03_the_socket_is_not_for_everybody(net: Net) -> None:
    """Another user of the machine gets no answer."""
    socket = net.lab.dir("pe1") / "run/api.sock"
    mine = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-w")
    done = subprocess.run([*mine, str(socket)], timeout=20, check=False)
    assert done.returncode == 1
    assert os.access(socket, os.W_OK), "control: root gets one"
