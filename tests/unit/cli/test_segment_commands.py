"""`pe workload`, `group`, `policy`, `flows`, `map`, `explain`, `evidence` against a served node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import RemoteEndpoint, RemoteEndpointsChanged, digest_31
from pe.cli.flows import Skipped
from pe.cli.main import main
from tests.unit.api.segment_serving import POLICY, Desk, segment_desk
from tests.unit.config.text import changed

WEB, PAY, PARTNER = "10.0.0.1", "10.0.0.2", "203.0.113.9"


class Shell:
    """Runs the command against a desk."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.file = folder / "policy.yaml"
        self.file.write_text(POLICY)
        self._socket = str(desk.running.api.socket)

    def run(self, *words: str, status: int = 0, stdin: str | None = None) -> Result:
        environment = {"BULKHEAD_SOCKET": self._socket}
        done = CliRunner().invoke(main, list(words), env=environment, input=stdin)
        assert done.exit_code == status, done.output
        return done

    def __call__(self, *words: str, status: int = 0) -> str:
        return self.run(*words, status=status).output


@pytest.fixture
def pe(tmp_path: Path) -> Iterator[Shell]:
    with segment_desk(tmp_path) as desk:
        shell = Shell(desk, tmp_path)
        at = ("--vrf", "red", "--port", "p1", "--address")
        shell("workload", "attach", "web", *at, WEB, "tier=web")
        shell("workload", "attach", "pay", *at, PAY, "app=payroll", "scope=pci")
        yield shell


def enforced(pe: Shell) -> Shell:
    pe("policy", "stage", str(pe.file), "-m", "test")
    assert "is enforced after" in pe("policy", "promote", "-m", "go")
    return pe


def test_staging_an_empty_document_asks_for_the_flag(pe: Shell) -> None:
    pe.file.write_text("")
    assert "--allow-empty" in pe("policy", "stage", str(pe.file), status=1)
    assert "is staged" in pe("policy", "stage", str(pe.file), "--allow-empty")


def test_staging_again_says_that_it_is_enforced(pe: Shell) -> None:
    assert "enforced already" in enforced(pe)("policy", "stage", str(pe.file))


def test_what_does_not_exist_is_a_failure(pe: Shell) -> None:
    for command in (("flows", "--vrf"), ("flows", "--from"), ("map", "--to"), ("show", "routes"),
                    ("show", "routes", "--neighbor"), ("workload", "list", "--vrf"),
                    ("policy", "recommend", "--vrf"), ("show", "guards", "--port")):  # fmt: skip
        assert "there is no" in pe(
            *command, "192.0.2.77" if "--neighbor" in command else "nosuch", status=1
        ) or "is no workload" in pe(*command, "nosuch", status=1)


def test_attaching_again_says_what_is_removed_and_that_there_is_no_policy(pe: Shell) -> None:
    again = ("workload", "attach", "web", "--vrf", "red", "--port", "p1", "--address", WEB)
    out = pe(*again)
    assert "removed from web: tag tier=web" in out
    assert "warning: this node enforces no policy" in out
    assert "warning" not in enforced(pe)(*again)


def test_an_address_in_conflict_is_marked(pe: Shell) -> None:
    assert "!" not in pe("workload", "list")
    conflict = RemoteEndpoint(None, conflict=("10.255.0.3", "here"))
    pe.desk.claim(RemoteEndpointsChanged("red", {parse_prefix(WEB): conflict}))
    listed = pe("workload", "list").splitlines()
    line = f"! web: {WEB}: also at 10.255.0.3, under another name; pending, so denied"
    assert listed[-1] == line
    assert [row.split()[:2] for row in listed[1:-1]] == [["pay", "red"], ["web", "!"]]
    assert f"Conflict:    {WEB}: also at 10.255.0.3" in pe("workload", "show", "web")
    rows = json.loads(pe("workload", "list", "tier=web", "--json"))
    assert rows[0]["conflicts"] == [f"{WEB}: also at 10.255.0.3"]
    at = ("--vrf", "red", "--port", "p1", "--address")
    pe("workload", "attach", "web", *at, WEB, "tier=app")  # it has the address already
    pe.desk.claim(RemoteEndpointsChanged("red", {parse_prefix(WEB): None}))
    assert "!" not in pe("workload", "list")
    other = RemoteEndpoint(frozenset({101}), "10.255.0.3", name=digest_31("cache"))
    pe.desk.claim(RemoteEndpointsChanged("red", {parse_prefix("10.0.0.9"): other}))
    said = pe("workload", "attach", "db", *at, "10.0.0.9", status=1)
    assert "10.0.0.9/32 is attached at 10.255.0.3 under another name: detach it there" in said
    pe("workload", "attach", "cache", *at, "10.0.0.9")


def test_workloads_in_a_table(pe: Shell) -> None:
    lines = pe("workload", "list").splitlines()
    assert lines[0].split() == ["Workload", "VRF", "Port", "Addresses", "Tags", "Groups"]
    assert lines[1].split() == ["pay", "red", "p1", PAY, "app=payroll", "scope=pci", "-"]
    assert "env=prod" in pe("workload", "tag", "web", "env=prod", "tier-")
    assert json.loads(pe("workload", "list", "env=prod", "--json"))[0]["tags"] == {"env": "prod"}
    assert pe("workload", "detach", "web").splitlines() == [
        "web is detached",
        f"in hold-down: {WEB}, denied for 00:05:00 unless a workload or route claims it before",
    ]
    assert pe("workload", "detach", "web") == "there is no workload web\n"
    again = json.loads(pe("workload", "detach", "web", "--json"))
    assert again == {"detached": False, "held_down": [], "hold_down_seconds": 0}
    assert "no tag" in pe("workload", "tag", "pay", "nonsense", status=2)
    assert "there is no workload" in pe("workload", "tag", "missing", "a=b", status=1)


def test_workloads_as_they_come_and_change(pe: Shell) -> None:
    lines = pe("workload", "watch", "tier=web", "-n", "1").splitlines()
    assert [line.split() for line in lines] == [
        ["present", "web", "red", "p1", WEB, "tier=web", "-"]
    ]
    told = [json.loads(line) for line in pe("workload", "watch", "-n", "3", "--json").splitlines()]
    assert [(each["event"], each["workload"] and each["workload"]["name"]) for each in told] == [
        ("present", "pay"), ("present", "web"), ("synced", None),
    ]  # fmt: skip


def test_a_line_of_a_workload_is_short(pe: Shell) -> None:
    addresses = [f"10.0.0.{n}" for n in range(10, 20)]
    options = [word for address in addresses for word in ("--address", address)]
    pe("workload", "attach", "many", "--vrf", "red", "--port", "p1", *options, "env=prod")
    line = next(row for row in pe("workload", "list").splitlines() if row.startswith("many"))
    assert line.split()[3:7] == ["10.0.0.10", "10.0.0.11", "10.0.0.12", "+7"]
    wide = pe("workload", "list", "--wide")
    assert " ".join(addresses) in wide
    assert "+7" not in wide


def test_a_workload_with_all_that_is_known(pe: Shell) -> None:
    enforced(pe)
    shown = dict(line.split(":", 1) for line in pe("workload", "show", "pay").splitlines())
    assert shown["VRF"].strip() == "red, port p1"
    assert shown["Tags"].strip() == "app=payroll scope=pci"
    assert "payroll" in shown["Groups"]
    assert shown["Attached"].strip().endswith("UTC, generation 1")
    assert json.loads(pe("workload", "show", "pay", "--json"))["addresses"] == [PAY]
    assert "there is no workload" in pe("workload", "show", "missing", status=1)


def test_a_selector_is_tried_before_it_is_written(pe: Shell) -> None:
    assert pe("group", "try", "scope=pci").splitlines()[1].split() == ["pay", "red", PAY, "here"]
    assert pe("group", "try", "scope=none") == "no workload here matches scope=none\n"
    assert pe("group", "try", "scope=none", "--json") == "[]\n"
    assert "scope" in pe("group", "try", "scope in", status=1)


def test_one_group(pe: Shell) -> None:
    enforced(pe)
    lines = pe("group", "show", "payroll").splitlines()
    assert "Members:   1 here, 0 elsewhere" in lines
    assert lines[-1].split() == ["pay", "red", PAY, "here"]
    assert "there is no group" in pe("group", "show", "missing", status=1)


def test_groups(pe: Shell) -> None:
    enforced(pe)
    assert ["web", "101", "-", "1", "0", "tier=web"] in [
        line.split() for line in pe("group", "list").splitlines()
    ]
    assert pe("group", "list", "payroll").splitlines()[1].split() == ["pay", "red", PAY, "here"]
    assert "203.0.113.0/24" in pe("group", "list", "--networks")


def test_a_bad_document_fails_with_lines(pe: Shell) -> None:
    pe.file.write_text("rules:\n  - allow web too app\n  - deny missing to any\n")
    done = pe.run("policy", "check", str(pe.file), status=1)
    assert "line 2: rules[0]" in done.output
    assert "line 3: rules[1]" in done.output
    assert "neither a file nor a revision" in pe("policy", "stage", "nofile", status=2)


def test_a_document_is_checked_without_a_node(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"

    def check(text: str, *options: str, status: int = 0) -> str:
        file.write_text(text)
        command = ["policy", "check", "--offline", str(file), *options]
        done = CliRunner().invoke(main, command, env={"BULKHEAD_SOCKET": "/nowhere"})
        assert done.exit_code == status, done.output
        return done.output

    assert "is good: revision" in check(POLICY)
    assert "line 2: rules[0]" in check("rules:\n  - allow web too app\n", status=1)
    assert "is empty and allows everything" in check("")
    wrong = json.loads(check("rules: 7\n", "--json", status=1))
    assert wrong["problems"][0]["line"] == 1
    alone = CliRunner().invoke(main, ["policy", "check", "--config", str(file), str(file)])
    assert (alone.exit_code, "--offline only" in alone.output) == (2, True)


def test_a_document_is_compared_with_a_configuration(tmp_path: Path) -> None:
    file, config = tmp_path / "policy.yaml", tmp_path / "pe.yaml"
    config.write_text(changed(("        md5: red\n", "")).replace("    md5: core\n", "    {}\n"))

    def check(text: str, status: int) -> str:
        file.write_text(text)
        words = ["policy", "check", "--offline", "--config", str(config), str(file)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == status, done.output
        return done.output

    assert "no VRF 'reed'" in check("modes: {vrfs: {reed: full}}\n", 0)
    assert "denies the BGP session with" in check("rules:\n  - deny any to any in vrf red\n", 1)
    assert "warning" not in check("modes: {vrfs: {red: full}}\n", 0)
    config.write_text("name: pe1\n")
    assert "asn" in check("rules: []\n", 1)


def test_the_road(pe: Shell) -> None:
    assert "is good" in pe("policy", "check", str(pe.file))
    pe.desk.flow(PARTNER, PAY, 8001)
    assert "1 flows, 0 lost" in pe("baseline", "record", "may")
    answer = pe("policy", "whatif", str(pe.file), "--baseline", "may")
    assert "observed flows that would break: 1" in answer
    assert "tcp/8001: allowed (default/visibility) -> denied (default/full)" in answer
    enforced(pe)
    pe.file.write_text(POLICY.replace("tcp/443", "tcp/8443"))
    pe("policy", "stage", str(pe.file))
    assert "- rule application/10: allow web to payroll on tcp/443" in pe("policy", "diff")
    assert "ABORTED" not in pe("policy", "promote", "deadbeef", status=1)
    pe("policy", "promote")
    again = pe("policy", "promote", "deadbeef", status=1)
    assert again == "pe: nothing is staged, and deadbeef is not enforced\n"
    assert "is enforced again" in pe("policy", "rollback", "-m", "too early")
    log = pe("policy", "log").splitlines()
    assert log[1].endswith("too early")
    assert [line.split()[2] for line in pe("policy", "list").splitlines()[1:]] == [
        "enforced", "superseded",
    ]  # fmt: skip
    digest = pe("policy", "list").splitlines()[1].split()[0]
    assert '"payroll"' in pe("policy", "show", digest)
    newest = pe("policy", "list", "-n", "1").splitlines()
    assert len(newest) == 2
    assert newest[1].split()[-1].startswith("uid:") or newest[1].endswith(")")
    assert json.loads(pe("policy", "list", "--json"))[0]["last_change"]["move"] == "rollback"


def test_flows_and_recommendations(pe: Shell) -> None:
    pe("policy", "stage", str(pe.file))
    pe.desk.flow(WEB, PAY, 22)
    row = pe("flows", "--vrf", "red").splitlines()[1]
    assert row.split()[3:6] == ["web", "pay", "tcp/22"]
    assert "DENIED (default/full)" in row
    assert "no flow was lost" in pe("flows")
    assert "tcp/22" not in pe("flows", "--denied")
    assert json.loads(pe("flows", "--differs", "--json"))[0]["staged"]["allowed"] is False
    pe("policy", "promote")
    assert "no rule for" not in pe("policy", "recommend")
    assert "no rule to recommend" not in pe("policy", "recommend")


def test_flows_of_a_span_of_time(pe: Shell) -> None:
    pe.desk.flow(WEB, PAY, 22)
    long_ago = ("--until", "2001-01-01")
    assert "tcp/22" in pe("flows", "--since", "2001-01-01")
    assert "tcp/22" not in pe("flows", *long_ago)
    assert "tcp/22" in pe("map", "--since", "2001-01-01 00:00")
    assert "tcp/22" not in pe("map", *long_ago)
    assert "since" in pe("flows", "--since", "2001-01-02", *long_ago, status=1)
    assert "no such date" not in pe("flows", "--since", "yesterday", status=2)
    assert "1 flows" in pe("baseline", "record", "all", "--since", "2001-01-01")


def test_losses_are_said_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = Skipped()
    for count, now in ((0, 0.0), (3, 0.1), (4, 0.2), (9, 1.0), (20, 1.2), (20, 1.3)):
        skipped.note(count, now)
    skipped.end()
    said = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert said == ["3", "20"]


def test_nothing_to_recommend_is_said(pe: Shell) -> None:
    out = pe("policy", "recommend")
    assert out == "# no rule to recommend: no flow was observed that no rule allows\n"


def test_explain_and_evidence(pe: Shell) -> None:
    enforced(pe)
    pe.desk.flow(WEB, PAY, 443)
    pe.desk.flow(PARTNER, PAY, 22)
    assert "ALLOWED by application/10" in pe("explain", "web", "pay", "tcp/443")
    assert "DENIED by default/full" in pe("explain", WEB, PAY, "tcp/22", "--vrf", "red")
    assert "tcp without a port: write tcp/PORT" in pe("explain", "web", "pay", "tcp", status=1)
    assert "icmp without a type: write icmp/TYPE" in pe("explain", "web", "pay", "icmp", status=1)
    assert "name one:" in pe("explain", "web", "pay", "tcp/1-9", status=1)
    report = pe("evidence", "--tag", "scope=pci")
    for word in ("Members (1)", "Allowed (1)", "Denied attempts (1)", "no flow lost", PARTNER):
        assert word in report
    assert json.loads(pe("evidence", "--tag", "scope=pci", "--json"))["members"][0]["workload"]
    long_ago = pe("evidence", "--tag", "scope=pci", "--until", "2001-01-01")
    for word in ("Members (1)", "Denied attempts (0)", "Policy changes (0)"):
        assert word in long_ago
    assert "Denied attempts (1)" in pe("evidence", "--tag", "scope=pci", "--since", "2001-01-01")


@pytest.fixture
def busy(pe: Shell) -> Shell:
    enforced(pe)
    pe.desk.flow(WEB, PAY, 443, count=5)
    pe.desk.flow(PARTNER, PAY, 22)
    pe.desk.flow(PARTNER, WEB, 443)
    pe.desk.flow(PAY, PAY, 443)
    pe.desk.flow("10.0.0.99", WEB, 80, vrf="blue")
    return pe


def test_the_map_as_text_and_for_programs(busy: Shell) -> None:
    rows = [line.split()[:6] for line in busy("map").splitlines()]
    assert ["red", "web", "payroll", "tcp/443", "5", "0"] in rows
    assert ["red", "partners", "payroll", "tcp/22", "0", "1"] in rows
    assert len(json.loads(busy("map", "--format", "json"))["edges"]) == 5
    dot = busy("map", "--format", "dot")
    assert '"red/web" -> "red/payroll"' in dot
    assert dot.count("subgraph") == 2


def test_the_map_as_a_picture_needs_nothing_else(busy: Shell) -> None:
    svg = busy("map", "--format", "svg")
    root = ElementTree.fromstring(svg)  # noqa: S314 - ours
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"payroll", "web", "partners", "VRF red", "VRF blue"} <= set(texts)
    page = busy("map", "--format", "html")
    assert page.startswith("<!doctype html>")
    assert svg.splitlines()[0] in page
    for text in (svg, page):
        assert "src=" not in text
        assert "href" not in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_names_cannot_break_a_picture(pe: Shell) -> None:
    from bulkhead.v1 import flows_pb2 as pb

    from pe.draw.dot import dot
    from pe.draw.page import page
    from pe.draw.picture import picture

    evil = '<script>"&\\'
    nodes = [pb.MapNode(name=evil, vrf=evil, kind=pb.MapNode.KIND_GROUP)]
    answer = pb.GetMapResponse(
        nodes=nodes, edges=[pb.MapEdge(vrf=evil, source=evil, destination=evil, services=[evil])]
    )
    ElementTree.fromstring(picture(answer))  # noqa: S314 - ours
    assert "<script>" not in page(answer, evil)
    assert '\\"' in dot(answer)


def test_errors_name_the_options_that_were_typed(pe: Shell) -> None:
    at = ("--vrf", "red", "--port", "p1", "--address")
    for words, start in (
        (("workload", "attach", "new", "--vrf", "reed", *at[2:], "10.0.0.9"), "--vrf: "),
        (("workload", "attach", "new", "--vrf", "red", "--port", "px", *at[4:], "10.0.0.9"),
         "--port: "),
        (("workload", "attach", "new", *at, "10.0.0.256"), "--address: "),
        (("workload", "attach", "New", *at, "10.0.0.9"), "NAME: "),
        (("workload", "tag", "web", "a=b", "--generation", "99"), "--generation: "),
        (("flows", "--from", "nosuch"), "--from: "),
        (("flows", "--service", "tpc/1"), "--service: "),
        (("flows", "--since", "2026-02-01", "--until", "2026-01-01"), "--since: "),
        (("evidence", "--tag", "tier is web"), "--tag: "),
        (("workload", "list", "tier is web"), "SELECTOR: "),
        (("explain", "nosuch", PAY, "tcp/1", "--vrf", "red"), "SOURCE: "),
    ):  # fmt: skip
        said = pe.run(*words, status=1).stderr
        assert said.startswith(f"pe: {start}"), (words, said)
