"""The systemd unit says what the code says, and systemd takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from controlplane.model.intent import NodeIntent
from pe.node import HEARTBEAT
from pe.process.privileges import NEEDED
from tests.attack.confined import Unit

FILE = Path(__file__).resolve().parents[3] / "packaging/systemd/bulkhead.service"
MOST_EXPOSED = 35
"""Tenths: a root with CAP_NET_ADMIN that must see the host's network does not get far below 3."""
LONGEST_TURN = HEARTBEAT
"""Seconds between two turns of the router: it waits for nothing within one."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


@pytest.fixture
def unit() -> Unit:
    return Unit(FILE)


def test_the_bounding_set_is_what_the_node_keeps(unit: Unit) -> None:
    assert set(unit.words("CapabilityBoundingSet")) == {f"CAP_{c.name}" for c in NEEDED}
    assert unit.words("AmbientCapabilities") == []
    assert unit.is_on("NoNewPrivileges")


def test_folders_are_the_defaults_of_the_configuration(unit: Unit) -> None:
    defaults = {f: NodeIntent.__struct_defaults__[i - len(NodeIntent.__struct_fields__)]
                for i, f in enumerate(NodeIntent.__struct_fields__)
                if f in ("run_dir", "state_dir")}  # fmt: skip
    (run,), (state,) = unit.words("RuntimeDirectory"), unit.words("StateDirectory")
    assert defaults == {"run_dir": f"/run/{run}", "state_dir": f"/var/lib/{state}"}
    (configuration,) = unit.words("ConfigurationDirectory")
    assert unit.words("ExecStart")[-2:] == ["run", f"/etc/{configuration}/pe.yaml"]
    assert unit.words("ExecStartPre")[-2:] == ["check", f"/etc/{configuration}/pe.yaml"]


def test_nothing_takes_away_what_the_node_works_with(unit: Unit) -> None:
    """Settings that look good in an audit and stop a PE: each was thought of."""
    assert not unit.is_on("ProtectKernelTunables"), "it writes /proc/sys/net"
    assert not unit.is_on("PrivateNetwork")
    assert not unit.is_on("PrivateDevices"), "it makes test ports of /dev/net/tun"
    assert unit.words("DeviceAllow") == ["/dev/net/tun", "rw"]
    assert unit.words("ProcSubset") == [], "pid would hide /proc/sys"
    families = set(unit.words("RestrictAddressFamilies"))
    assert families == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def test_the_service_manager_learns_how_the_node_is(unit: Unit) -> None:
    assert unit.words("Type") == ["notify"]
    assert unit.words("NotifyAccess") == ["main"]
    assert unit.words("Restart") == ["always"]
    (watchdog,), (start,) = unit.words("WatchdogSec"), unit.words("TimeoutStartSec")
    assert float(watchdog) > LONGEST_TURN, "a turn that waits for the kernel must not be its end"
    assert float(start) > LONGEST_TURN


def test_no_bound_throttles_bgp(unit: Unit) -> None:
    """MemoryHigh=2G once did from 75 VRFs on, each with a BGP process of 25 MB."""
    assert unit.words("MemoryHigh") == unit.words("MemoryMax") == []
    assert unit.words("TasksMax") == ["infinity"]


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    installed = tmp_path / "bulkhead.service"
    installed.write_text(FILE.read_text().replace("/opt/bulkhead/bin/pe", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "bulkhead" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_what_is_left_exposed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(FILE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd before 250")
    level = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout)
    assert level is not None, done.stderr
    assert done.returncode == 0, level[0]


def test_the_unit_runs_what_the_installation_of_the_documents_makes(unit: Unit) -> None:
    text = (FILE.parents[2] / "docs/management.md").read_text()
    steps = text.partition("## Installation")[2].partition("\n## ")[0]
    program = unit.words("ExecStart")[0]
    folder = program.removesuffix("/bin/pe")
    assert f"python3 -m venv {folder}\n" in steps
    assert f"{folder}/bin/pip install .\n" in steps
    assert unit.words("ExecStartPre")[0] == program
    assert "install -m 644 packaging/systemd/bulkhead.service /etc/systemd/system/" in steps


def test_taking_a_node_off_names_what_installing_it_made() -> None:
    text = (FILE.parents[2] / "docs/management.md").read_text()
    off = text.partition("## Taking a node off a machine")[2].partition("\n## ")[0]
    for made in ("/opt/bulkhead", "/etc/systemd/system/bulkhead.service", "/usr/local/bin/pe",
                 "/etc/modules-load.d/bulkhead.conf", "/etc/bulkhead"):  # fmt: skip
        assert made in off
