"""The Selftest service and its command: roles, audit log and report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import pytest
from click.testing import CliRunner

from controlplane.api import server as api_server
from controlplane.api.access.caller import Caller
from controlplane.api.server import AddServices
from controlplane.api.services.selftest_service import selftest_service
from controlplane.model.intent import ApiRole
from controlplane.model.selftest_report import (
    SelftestBusyError,
    SelftestReport,
    SelftestUnavailableError,
    TrialView,
    Verdict,
)
from pe.cli.main import main
from tests.unit.api.fake_node import FakeNode
from tests.unit.api.serving import Serving, node_intent, serving


def trial(requirement: str, verdict: Verdict, **more: object) -> TrialView:
    fields: dict[str, object] = {"sent": "a packet", "evidence": "seen", "family": 4, **more}
    return TrialView(requirement=requirement, verdict=verdict, **fields)  # type: ignore[arg-type]


HELD = trial("LBL-2", Verdict.HELD, counter="lbl_06__x", before=3, after=5)
BROKEN = trial("SPF-1", Verdict.NOT_HELD)
LEFT_OUT = trial("MGMT-1", Verdict.NOT_TESTED, sent="", evidence="of the API", family=0)


@dataclass
class Runner:
    trials: tuple[TrialView, ...] = (HELD, LEFT_OUT)
    refusal: Exception | None = None
    runs: int = 0

    async def run(self) -> SelftestReport:
        self.runs += 1
        if self.refusal:
            raise self.refusal
        return SelftestReport(
            node="pe1", version="0.1.0", kernel="Linux 6.12", config_file="/etc/pe.yaml",
            config_digest="ab" * 32, began=1000.25, ended=1003.5, trials=self.trials,
        )  # fmt: skip


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def running(tmp_path: Path, runner: Runner) -> Iterator[Serving]:
    async def add(_node: FakeNode) -> AddServices:
        return selftest_service(runner)

    with serving(node_intent(tmp_path), more=add) as found:
        yield found


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    who = [Caller("uid:0", ApiRole.ADMIN)]
    monkeypatch.setattr(api_server, "local_caller", lambda _peer: who[0])
    return who


def code(running: Serving) -> grpc.StatusCode:
    with running.client() as node, pytest.raises(grpc.RpcError) as refused:
        node.selftest()
    return cast(grpc.Call, refused.value).code()


def test_a_report_arrives_whole(running: Serving) -> None:
    with running.client() as node:
        report = node.selftest()
    assert (report.node, report.kernel, report.config_digest) == ("pe1", "Linux 6.12", "ab" * 32)
    assert (report.held, report.not_held, report.unproven, report.not_tested) == (1, 0, 0, 1)
    assert report.passed
    first = report.trials[0]
    assert (first.requirement, first.verdict) == ("LBL-2", first.VERDICT_HELD)
    assert (first.counter, first.packets_before, first.packets_after) == ("lbl_06__x", 3, 5)


@pytest.mark.parametrize("verdict", [Verdict.NOT_HELD, Verdict.UNPROVEN])
def test_one_that_did_not_hold_is_enough(
    running: Serving, runner: Runner, verdict: Verdict
) -> None:
    runner.trials = (HELD, trial("SPF-1", verdict))
    with running.client() as node:
        assert not node.selftest().passed


def test_who_may(running: Serving, runner: Runner, caller: list[Caller]) -> None:
    for role, vrfs in ((ApiRole.VIEWER, ()), (ApiRole.OPERATOR, ("red",))):
        caller[0] = Caller("someone", role, frozenset(vrfs))
        assert code(running) is grpc.StatusCode.PERMISSION_DENIED
    assert runner.runs == 0
    caller[0] = Caller("someone", ApiRole.OPERATOR)
    with running.client() as node:
        assert node.selftest().passed


def test_it_is_written_down(running: Serving) -> None:
    with running.client() as node:
        node.selftest()
    asked, ended = running.audit
    assert asked["method"] == ended["method"] == "/bulkhead.v1.Selftest/RunSelftest"
    assert (ended["result"], ended["after"]) == (
        "OK", "held 1, not held 0, unproven 0, not tested 1",
    )  # fmt: skip


def test_refusals(running: Serving, runner: Runner) -> None:
    runner.refusal = SelftestBusyError("one is under way")
    assert code(running) is grpc.StatusCode.ABORTED
    runner.refusal = SelftestUnavailableError("not in sync")
    assert code(running) is grpc.StatusCode.FAILED_PRECONDITION


def pe(running: Serving, *words: str) -> tuple[int, str]:
    environment = {"BULKHEAD_SOCKET": str(running.api.socket)}
    result = CliRunner().invoke(main, ["selftest", *words], env=environment)
    return result.exit_code, result.output


def test_the_command_for_people(running: Serving, runner: Runner) -> None:
    status, text = pe(running)
    assert status == 0
    assert "began 1970-01-01 00:16:40 UTC, took 3.2 s" in text
    line = next(line for line in text.splitlines() if line.startswith("LBL-2"))
    assert line.split() == ["LBL-2", "a", "packet", "v4", "held", "lbl_06__x", "3", "5", "seen"]
    assert "not tested: MGMT-1" in text
    runner.trials = (HELD, BROKEN)
    status, text = pe(running)
    assert status == 1
    assert "NOT HELD" in text


def test_the_command_for_programs(running: Serving, runner: Runner) -> None:
    runner.trials = (HELD, BROKEN)
    status, text = pe(running, "--json")
    report = json.loads(text)
    assert status == 1
    assert [t["verdict"] for t in report["trials"]] == ["held", "not-held"]
    assert (report["passed"], report["node"]) == (False, "pe1")


def test_the_command_when_it_is_refused(running: Serving, runner: Runner) -> None:
    runner.refusal = SelftestBusyError("one is under way")
    assert pe(running) == (1, "pe: one is under way\n")
