"""What `pe show` says of advertised routes, guards and hold-downs; which log `pe audit` reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from controlplane.model import view as v
from pe.cli.main import main
from tests.unit.api.fake_node import route
from tests.unit.api.serving import Serving
from tests.unit.cli.test_commands import lines, pe, running

__all__ = ["running"]


def test_what_is_advertised_says_to_whom_and_with_which_as_path(running: Serving) -> None:
    sent = {"active": False, "age": None, "port": "ce-red", "advertised_to": "10.1.1.2"}
    running.node.route_rows = [
        route("red", "10.2.0.0/16", next_hop="10.1.1.1", labels=(), as_path="65000 65009", **sent),
        route("red", "10.3.0.0/16", next_hop="10.255.0.1", labels=(16000,), **sent),
    ]
    asked = ("show", "routes", "red", "--neighbor", "10.1.1.2", "--advertised")
    assert lines(pe(*asked, at=running))[4:] == [
        "V>   10.2.0.0/16          to 10.1.1.2 via 10.1.1.1, AS path 65000 65009",
        "V>   10.3.0.0/16          to 10.1.1.2 via 10.255.0.1, label 16000, AS path (empty)",
    ]
    detailed = pe(*asked, "--detail", at=running).stdout
    assert "    to: 10.1.1.2\n" in detailed
    assert "from:" not in detailed
    (first, _) = json.loads(pe(*asked, "--json", at=running).stdout)
    assert (first["age_seconds"], first["neighbor"]) == (None, "")
    assert first["advertised_to"] == "10.1.1.2"


def test_a_guard_in_two_tables_has_a_row_for_each(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def guards() -> list[v.GuardView]:
        return [
            v.GuardView(requirement="FAIL-1", name="fail_01", action="drop", packets=1, bytes=40,
                        family=family) for family in ("inet", "arp")
        ]  # fmt: skip

    monkeypatch.setattr(running.node, "guards", guards)
    rows = lines(pe("show", "guards", at=running))
    assert [row.split()[-2:] for row in rows] == [
        ["Table", "Guard"], ["inet", "fail_01"], ["arp", "fail_01"]
    ]  # fmt: skip
    assert len(set(rows)) == 3


def test_status_says_which_addresses_are_in_hold_down(running: Serving) -> None:
    assert "Hold-down" not in pe("show", "status", at=running).stdout
    running.node.held_down = 2
    shown = lines(pe("show", "status", at=running))
    assert "Hold-down:     2 addresses are denied, the last for 00:04:10 more" in shown


def test_audit_verify_reads_the_log_of_the_node_at_the_socket(running: Serving) -> None:
    pe("reload", at=running)
    log = Path(running.intent.state_dir) / "audit.log"
    running.node.audit_log = str(log)
    assert lines(pe("audit", "verify", at=running))[0].startswith(f"{log}: 2 lines")
    absent = pe("audit", "verify")
    assert absent.exit_code == 3, "a socket was named, and no node is there"
    usual = CliRunner().invoke(main, ["audit", "verify"], env={"BULKHEAD_SOCKET": None})
    assert usual.exit_code == 1
    assert "/var/lib/bulkhead/audit.log: no such file" in usual.stderr
