"""The `pe` command against a real server with a fake node behind it."""

from __future__ import annotations

import errno
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner, Result

from controlplane.api import server as api_server
from controlplane.api.access.caller import Caller
from controlplane.model import view as v
from controlplane.model.intent import ApiRole
from controlplane.model.route_view import RouteSource, RouteTable
from pe.cli import connection
from pe.cli.connection import node_at
from pe.cli.main import SUMMARIES, available, main
from tests.unit.api.fake_node import neighbor, route
from tests.unit.api.serving import Serving, node_intent, serving
from tests.unit.config.text import GOOD, changed


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Serving]:
    with serving(node_intent(tmp_path)) as found:
        yield found


FAMILY_CELLS = ["ipv4", "3/10", "5", "0"]


def pe(*arguments: str, at: Serving | None = None) -> Result:
    environment = {"BULKHEAD_SOCKET": str(at.api.socket) if at else "/nowhere/api.sock"}
    return CliRunner().invoke(main, arguments, env=environment)


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_every_command_can_be_imported_and_explains_itself() -> None:
    context = click.Context(main)
    for name in available():
        command = main.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(100) == SUMMARIES[name]


def test_no_help_of_a_group_cuts_a_sentence() -> None:
    for name in available():
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            lines = CliRunner().invoke(command, ["--help"], terminal_width=80).output.splitlines()
            listed = lines[lines.index("Commands:") :]
            assert not [line for line in listed if line.endswith("...") and "=VALUE" not in line]
            assert all(len(line) <= 80 for line in lines)


def test_vrfs(running: Serving) -> None:
    assert lines(pe("show", "vrfs", at=running)) == [
        "VRF   RD       Import RT  Export RT  Table  Label  Routes  Active  Ports",
        "red   65000:1  65000:1    65000:1    16000  16000       4       3  ce-red",
        "blue  65000:2  65000:1    65000:1    16000      -       4       3  ce-blue",
    ]


def test_neighbors(running: Serving) -> None:
    rows = lines(pe("show", "neighbors", at=running))
    assert rows[0].split() == [
        "Neighbor", "VRF", "AS", "State", "Up/Down", "Family", "Received", "Sent", "Flaps"
    ]  # fmt: skip
    cells = [row.split() for row in rows[1:]]
    assert cells[0] == ["10.255.0.2", "core", "65000", "Established", "00:12:31", *FAMILY_CELLS]
    assert cells[2] == ["10.1.1.2", "blue", "65001", "Active", "never", *FAMILY_CELLS]
    assert [row.split()[1] for row in lines(pe("show", "neighbors", "red", at=running))[1:]] == [
        "red"
    ]


def test_neighbor_details_say_why(running: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    held = neighbor("red", "10.1.1.2", state=v.SessionState.HELD_DOWN, held_for=90.0,
                    last_error="max-prefix", refused={"own-as": 2}, port="ce-red")  # fmt: skip
    monkeypatch.setattr(running.node, "neighbors", lambda: [held])
    text = pe("show", "neighbors", "--detail", at=running).stdout
    assert "BGP neighbor 10.1.1.2, AS 65001, VRF red, port ce-red" in text
    assert "State HeldDown for 00:12:31" in text
    assert "Held down for 00:01:30 more" in text
    assert "Refused: own-as 2" in text
    assert "Last error: max-prefix" in text


def test_routes(running: Serving) -> None:
    assert lines(pe("show", "routes", at=running))[3:] == [
        "VRF red:",
        "V>*  10.2.0.0/16          via 10.255.0.2, label 3001/16002, 1d01h01m",
        "C>*  10.1.1.0/30          is directly connected, 1d01h01m",
        "",
        "VRF blue:",
        "V>   10.2.0.0/16          via 10.255.0.2 (inactive: no route), label 3001/16002, 1d01h01m",
    ]


def test_routes_in_detail(running: Serving) -> None:
    running.node.route_rows = [
        route("red", "::/0", local_pref=100, med=0, as_path="65001 65002", neighbor="10.1.1.2",
              large_communities=("65000:1:7",), route_targets=("65000:1",))
    ]  # fmt: skip
    text = pe("show", "routes", "red", "--detail", at=running).stdout
    for line in ("AS path: 65001 65002", "MED: 0", "local preference: 100",
                 "large communities: 65000:1:7", "route targets: 65000:1"):  # fmt: skip
        assert f"    {line}\n" in text


def test_what_a_neighbour_announced_and_was_announced(running: Serving) -> None:
    running.node.route_rows = [
        route("red", "10.9.0.0/16", next_hop="", best=False, active=False, labels=(),
              neighbor="10.1.1.2", refused="policy"),
        route("red", "10.1.1.0/30", source=RouteSource.CONNECTED, next_hop="10.1.1.1",
              active=False, labels=()),
    ]  # fmt: skip
    asked = ("show", "routes", "red", "--neighbor", "10.1.1.2")
    assert lines(pe(*asked, "--received", at=running))[4:] == [
        "V    10.9.0.0/16          from 10.1.1.2 (refused: policy), 1d01h01m",
        "C>   10.1.1.0/30          via 10.1.1.1, 1d01h01m",
    ]
    tables = [wanted.table for wanted in running.node.asked]
    pe(*asked, "--advertised", at=running)
    assert [*tables, running.node.asked[-1].table] == [
        RouteTable.RECEIVED,
        RouteTable.ADVERTISED,
    ]


@pytest.mark.parametrize(
    "options", [["--received"], ["--neighbor", "10.1.1.2", "--received", "--advertised"]]
)
def test_options_of_routes_that_do_not_fit(running: Serving, options: list[str]) -> None:
    assert pe("show", "routes", *options, at=running).exit_code == 2
    assert not running.node.asked


def test_a_route_that_is_not_there_says_why(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("show", "routes", "red", "--prefix", "10.9.0.0/16")
    assert "has announced" not in pe(*asked, at=running).stdout
    monkeypatch.setattr(running.node, "route_rows", [])
    absent = "  no neighbour of red has announced 10.9.0.0/16"
    assert lines(pe(*asked, at=running))[-3:] == ["no routes", absent, "  core"]
    assert lines(pe("show", "routes", "red", at=running))[-1] == "no routes"


def test_no_routes_is_said(running: Serving) -> None:
    running.node.route_rows = []
    assert lines(pe("show", "routes", at=running))[-1] == "no routes"
    assert json.loads(pe("show", "routes", "--json", at=running).stdout) == []


def test_labels_nexthops_ports_counters_guards_status(running: Serving) -> None:
    assert lines(pe("show", "labels", at=running))[2].endswith("hold-down 00:00:12")
    hops = lines(pe("show", "nexthops", at=running))
    assert "10.0.12.0 dev core0 push 3001/16002" in hops[1]
    assert "unreachable" in hops[2]
    ports = lines(pe("show", "ports", at=running))
    assert ports[2].split() == ["ce-red", *"CE red down on - 10.1.1.1/30 10.1.0.0/16".split()]  # noqa: SIM905 - as it prints
    assert ports[3] == "ce-red: IPv6 address refused: Permission denied"
    counters = lines(pe("show", "counters", at=running))
    assert counters[1].split() == ["drift_repaired", "kind=route", "2"]
    assert len(lines(pe("show", "guards", at=running))) == 3
    assert lines(pe("show", "guards", "--hits", at=running))[1].startswith("LBL-2")
    status = lines(pe("show", "status", at=running))
    assert "Kernel:        in sync" in status
    assert "Left out:      1 routes, by a defect: see route_left_out" in status
    assert any("10.66.0.0/16 in VRF red" in line for line in status)
    assert "Flow records:  read" in status


def test_status_says_what_fails(running: Serving) -> None:
    running.node.failing = ("Without BGP process: red", "The store takes no history")
    status = lines(pe("show", "status", at=running))
    at = status.index("Failing:       Without BGP process: red")
    assert status[at + 1] == "               The store takes no history"
    assert "Kernel:        not in sync" in status


def test_status_says_why_there_are_no_flow_records(running: Serving) -> None:
    running.node.flow_log_problem = "Operation not permitted"
    shown = lines(pe("show", "status", at=running))
    assert "Flow records:  none: Operation not permitted" in shown


def test_status_says_which_policy_is_enforced_and_what_it_means_if_none_is(
    running: Serving,
) -> None:
    assert "Policy:        none is enforced" in lines(pe("show", "status", at=running))
    running.node.workloads = 3
    shown = lines(pe("show", "status", at=running))
    assert "Policy:        none is enforced: the 3 workloads here are in no group anywhere" in shown
    running.node.enforced_revision = "0123456789abcdef" * 4
    shown = lines(pe("show", "status", at=running))
    assert "Policy:        revision 0123456789ab is enforced" in shown


@pytest.mark.parametrize(
    "what", ["vrfs", "neighbors", "routes", "labels", "nexthops", "ports", "counters", "guards"]
)
def test_json_is_an_array_of_objects(running: Serving, what: str) -> None:
    rows = json.loads(pe("show", what, "--json", at=running).stdout)
    assert rows
    assert all(isinstance(row, dict) for row in rows)


def test_a_requirement_without_a_counter_and_one_that_does_not_exist(running: Serving) -> None:
    for requirement, text in (
        ("LBL-1", "LBL-1 has no counter of its own here"),
        ("trn", "TRN has no counter of its own here"),
        ("MGMT-11", "MGMT-11 has no counter of its own here"),
        ("LBL-99", "there is no requirement LBL-99"),
        ("NIX", "there is no requirement NIX"),
    ):
        found = pe("show", "guards", "--requirement", requirement, at=running)
        assert (found.exit_code, found.stdout) == (1, "")
        assert text in found.stderr
    both = ("--requirement", "LBL", "--port", "ce-blue")
    assert "no guard LBL at port ce-blue" in pe("show", "guards", *both, at=running).stderr
    assert len(lines(pe("show", "guards", "--requirement", "lbl", at=running))) == 2


def test_the_requirement_in_the_help_has_a_counter() -> None:
    example = re.search(r"requirement \(([A-Z]+)-(\d)\)", pe("show", "guards", "--help").stdout)
    assert example
    filters = Path(__file__).parents[3] / "pe/filters"
    wanted = f'dropped("{example[1].lower()}_{int(example[2]):02}"'
    assert any(wanted in path.read_text() for path in filters.glob("*.py"))


def test_json_of_status_is_an_object(running: Serving) -> None:
    assert json.loads(pe("show", "status", "--json", at=running).stdout)["name"] == "pe1"


def test_clear_and_reload(running: Serving) -> None:
    assert lines(pe("clear", "neighbor", "10.1.1.2", "--vrf", "red", at=running)) == [
        "session with 10.1.1.2 in VRF red is reset"
    ]
    assert lines(pe("reload", at=running)) == ["vrf green added"]
    running.node.refusal = ("pe.yaml:3:1: asn: wrong; write it right",)
    refused = pe("reload", at=running)
    assert refused.exit_code == 1
    assert refused.stderr == "pe: pe.yaml:3:1: asn: wrong; write it right\n"


def test_a_node_that_is_silent_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(address: str, options: list[tuple[str, int]]) -> grpc.Channel:
        return channel(address, [*options, ("grpc.min_reconnect_backoff_ms", 300)])

    channel = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", impatient)
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        found = pe("show", "vrfs", "--socket", str(path))
    assert (found.exit_code, found.stdout) == (3, "")
    assert f"connected to {path}, but no answer in " in found.stderr
    assert "is `pe run` running" in pe("show", "vrfs", "--socket", str(path)).stderr


def test_a_call_without_an_answer_ends_with_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """At the deadline of the client itself."""

    class LateError(grpc.RpcError, grpc.Call):  # type: ignore[misc]  # the rest is not asked for
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.DEADLINE_EXCEEDED

        def details(self) -> str:
            return "Deadline Exceeded"

    monkeypatch.setattr(LateError, "__abstractmethods__", frozenset())
    with pytest.raises(SystemExit) as ended, node_at(str(tmp_path / "api.sock")):
        raise LateError
    assert ended.value.code == 3
    assert "no answer in 0 s: what was asked for may still be done" in capsys.readouterr().err


def test_a_socket_that_the_user_may_not_open_is_no_missing_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = pe("show", "vrfs")
    assert absent.exit_code == 3, "the control"
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(connection, "_refusal", lambda _: denied)
    refused = pe("show", "vrfs")
    assert refused.exit_code == 4
    assert refused.stderr == (
        "pe: /nowhere/api.sock: permission denied: be root, or in the socket's group\n"
    )


def test_exit_codes(running: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = pe("show", "vrfs")
    assert (absent.exit_code, absent.stdout) == (3, "")
    assert absent.stderr == "pe: no node answers at /nowhere/api.sock: is `pe run` running?\n"
    unknown = pe("show", "routes", "green", at=running)
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert pe("show", "what", at=running).exit_code == 2
    assert pe("show", "routes", "--longer", at=running).exit_code == 2
    monkeypatch.setattr(api_server, "local_caller", lambda _: Caller("x", ApiRole.VIEWER))
    refused = pe("reload", at=running)
    assert (refused.exit_code, refused.stderr) == (4, "pe: Reload needs the role admin\n")


def test_check(tmp_path: Path) -> None:
    file = tmp_path / "pe.yaml"
    file.write_text(GOOD)
    file.chmod(0o600)
    assert lines(pe("check", str(file))) == [f"{file} is good: 2 VRFs, 2 BGP sessions"]
    file.write_text(changed(("asn: 65000", "asn: x"), ("rd: 65000:2", "rd: 65000:1")))
    bad = pe("check", str(file))
    assert bad.exit_code == 1
    assert [line.partition(" ")[0] for line in bad.stderr.splitlines()[:2]] == [
        f"{file}:2:6:", f"{file}:24:9:"
    ]  # fmt: skip
    assert bad.stderr.splitlines()[-1] == f"pe: {file} has 2 errors"
    found = json.loads(pe("check", "--json", str(file)).stdout)
    assert [error["path"] for error in found["errors"]] == ["asn", "vrfs.blue.rd"]


def test_run_refuses_a_wrong_file(tmp_path: Path) -> None:
    result = pe("run", str(tmp_path / "pe.yaml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_check_pays_for_no_grpc() -> None:
    """A start costs about a second on the lab kernel; what is not used is not imported."""
    code = "import sys, pe.cli.main, pe.cli.check; print('grpc' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


def test_one_neighbour_by_its_address_in_detail(running: Serving) -> None:
    text = pe("show", "neighbors", "10.255.0.2", at=running).stdout
    assert text.startswith("BGP neighbor 10.255.0.2, AS 65000, core\n")
    assert "10.1.1.2" not in text
    both = json.loads(pe("show", "neighbors", "10.1.1.2", "--json", at=running).stdout)
    assert [row["vrf"] for row in both] == ["red", "blue"]
    absent = pe("show", "neighbors", "192.0.2.9", at=running)
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert absent.stderr == (
        "pe: there is no neighbour 192.0.2.9; neighbours here: 10.255.0.2, 10.1.1.2\n"
    )


def test_an_address_in_the_place_of_a_vrf_is_answered_with_the_option(running: Serving) -> None:
    for asked in ("10.2.0.1", "10.2.0.0/16"):
        refused = pe("show", "routes", asked, at=running)
        assert refused.exit_code == 2
        assert f"--prefix {asked}" in refused.stderr
    assert not running.node.asked
