"""The Selftest service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import grpc
from bulkhead.v1 import selftest_pb2 as pb
from bulkhead.v1 import selftest_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.status import StatusError
from controlplane.model.selftest_report import (
    SelftestBusyError,
    SelftestReport,
    SelftestRunner,
    SelftestUnavailableError,
    TrialView,
    Verdict,
)

Context = grpc.aio.ServicerContext[Any, Any]

_VERDICTS = {
    Verdict.HELD: pb.Trial.VERDICT_HELD,
    Verdict.NOT_HELD: pb.Trial.VERDICT_NOT_HELD,
    Verdict.UNPROVEN: pb.Trial.VERDICT_UNPROVEN,
    Verdict.NOT_TESTED: pb.Trial.VERDICT_NOT_TESTED,
}


class SelftestService(selftest_pb2_grpc.SelftestServicer):
    """Serves one node's selftests."""

    def __init__(self, runner: SelftestRunner) -> None:
        self._runner = runner

    async def RunSelftest(
        self, request: pb.RunSelftestRequest, context: Context
    ) -> pb.RunSelftestResponse:
        """Make one; the audit log keeps its outcome."""
        try:
            report = await self._runner.run()
        except SelftestBusyError as error:
            raise StatusError(grpc.StatusCode.ABORTED, str(error)) from None
        except SelftestUnavailableError as error:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
        answer = _response(report)
        CHANGE.get().after = f"held {answer.held}, not held {answer.not_held}, unproven "
        CHANGE.get().after += f"{answer.unproven}, not tested {answer.not_tested}"
        return answer


def _response(report: SelftestReport) -> pb.RunSelftestResponse:
    not_held, unproven = report.count(Verdict.NOT_HELD), report.count(Verdict.UNPROVEN)
    return pb.RunSelftestResponse(
        node=report.node,
        version=report.version,
        kernel=report.kernel,
        config_file=report.config_file,
        config_digest=report.config_digest,
        began_unix=report.began,
        ended_unix=report.ended,
        trials=map(_trial, report.trials),
        held=report.count(Verdict.HELD),
        not_held=not_held,
        unproven=unproven,
        not_tested=report.count(Verdict.NOT_TESTED),
        passed=not (not_held or unproven),
    )


def _trial(trial: TrialView) -> pb.Trial:
    return pb.Trial(
        requirement=trial.requirement,
        sent=trial.sent,
        family=trial.family,
        verdict=_VERDICTS[trial.verdict],
        evidence=trial.evidence,
        counter=trial.counter,
        packets_before=trial.before,
        packets_after=trial.after,
    )


def selftest_service(runner: SelftestRunner) -> Callable[[grpc.aio.Server], Iterable[str]]:
    """Return a function that adds the service to a server and returns its full name."""

    def add(server: grpc.aio.Server) -> Iterable[str]:
        selftest_pb2_grpc.add_SelftestServicer_to_server(SelftestService(runner), server)
        return [pb.DESCRIPTOR.services_by_name["Selftest"].full_name]

    return add
