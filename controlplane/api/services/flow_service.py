"""The Flows service: what was seen, the map, baselines, and what they suggest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from bulkhead.v1 import flows_pb2 as pb
from bulkhead.v1 import flows_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.access.status import StatusError
from controlplane.api.services import policy_messages as messages
from controlplane.api.services.flow_filter import Filter
from controlplane.api.services.flow_map import draw
from controlplane.api.services.policy_service import flows_of
from controlplane.model.observed import Baseline
from controlplane.policy.controller import PolicyController
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.insight.recommend import Proposal, recommend
from controlplane.policy.language.syntax import is_name

FLOWS_PER_MESSAGE = 500
MOST_UNPLACED = 1_000
Context = grpc.aio.ServicerContext[Any, Any]


class FlowService(flows_pb2_grpc.FlowsServicer):
    """Serves one node's flows."""

    def __init__(self, conductor: PolicyController, answers: PolicyQueries) -> None:
        self._conductor = conductor
        self._answers = answers

    async def QueryFlows(
        self, request: pb.QueryFlowsRequest, context: Context
    ) -> AsyncIterator[pb.QueryFlowsResponse]:
        """Flows gathered, those seen last first; at least one message, with the losses."""
        chosen = Filter(request.filter, self._answers).passing(self._conductor.book)
        rows = sorted(chosen, key=lambda seen: -seen.last)
        rows = rows[: request.limit] if request.limit else rows
        for start in range(0, max(1, len(rows)), FLOWS_PER_MESSAGE):
            piece = rows[start : start + FLOWS_PER_MESSAGE]
            yield pb.QueryFlowsResponse(
                flows=[messages.flow(seen, self._answers) for seen in piece], loss=self._loss()
            )
            await asyncio.sleep(0)

    async def WatchFlows(
        self, request: pb.WatchFlowsRequest, context: Context
    ) -> AsyncIterator[pb.WatchFlowsResponse]:
        """New flows as they are seen."""
        wanted, watcher = Filter(request.filter, self._answers), self._conductor.book.watch()
        try:
            while True:
                seen = await watcher.next()
                if wanted.passes(seen):
                    yield pb.WatchFlowsResponse(
                        flow=messages.flow(seen, self._answers),
                        skipped=watcher.skipped,
                        loss=self._loss(),
                    )
        finally:
            self._conductor.book.leave(watcher)

    async def GetMap(self, request: pb.GetMapRequest, context: Context) -> pb.GetMapResponse:
        """Who talks to whom."""
        wanted = Filter(request.filter, self._answers)
        vrfs = [request.filter.vrf] if request.filter.vrf else self._conductor.director.vrfs
        seen = list(wanted.passing(self._conductor.book))
        response = draw(seen, self._answers, filter(CALLER.get().may_see, vrfs))
        response.loss.CopyFrom(self._loss())
        return response

    async def RecordBaseline(
        self, request: pb.RecordBaselineRequest, context: Context
    ) -> pb.RecordBaselineResponse:
        """Declare what was seen in a span of time to be good."""
        conductor = self._conductor
        if not is_name(request.name):
            what = f"{request.name!r} is no name: a-z first, then a-z 0-9 _ . -"
            raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [("name", what)])
        now = conductor.now()
        since = messages.seconds_of(request.since) if request.HasField("since") else 0.0
        until = messages.seconds_of(request.until) if request.HasField("until") else now
        known = conductor.baselines.get(request.name)
        if known is None:
            since = max(since, conductor.started)
            flows = tuple(seen.observed() for seen in conductor.book.seen(since, until))
            who = CALLER.get().identity
            known = Baseline(request.name, since, until, who, conductor.book.lost, flows)
            conductor.record_baseline(known)
            CHANGE.get().after = f"{len(flows)} flows"
        elif not _same_span(request, known):
            text = f"the baseline {request.name!r} covers another span of time"
            raise StatusError(grpc.StatusCode.ALREADY_EXISTS, text)
        return pb.RecordBaselineResponse(baseline=_baseline(known))

    async def ListBaselines(
        self, request: pb.ListBaselinesRequest, context: Context
    ) -> pb.ListBaselinesResponse:
        """Baselines, without their flows."""
        rows = sorted(self._conductor.baselines.values(), key=lambda each: each.until)
        return pb.ListBaselinesResponse(baselines=map(_baseline, rows))

    async def Recommend(
        self, request: pb.RecommendRequest, context: Context
    ) -> pb.RecommendResponse:
        """Rules for what was seen."""
        flows = flows_of(self._conductor, request.baseline)
        chosen = [flow for flow in flows if request.vrf in ("", flow.zone)]
        compiled = self._answers.compiled(self._answers.policy)
        advice = recommend(compiled, self._answers.inventory, chosen)
        return pb.RecommendResponse(
            proposals=map(_proposal, advice.proposals),
            unplaced=[
                pb.Unplaced(flow=messages.observed(each.flow, self._answers), reason=each.why)
                for each in advice.unplaced[:MOST_UNPLACED]
            ],
        )

    def _loss(self) -> pb.TelemetryLoss:
        return messages.loss(self._conductor.book)


def _same_span(request: pb.RecordBaselineRequest, known: Baseline) -> bool:
    """What is left out of a request is not compared: the same call again is OK."""
    since, until = messages.seconds_of(request.since), messages.seconds_of(request.until)
    return (not request.HasField("since") or max(since, known.since) == known.since) and (
        not request.HasField("until") or until == known.until
    )


def _baseline(it: Baseline) -> pb.Baseline:
    return pb.Baseline(
        name=it.name,
        since=messages.stamp(it.since),
        until=messages.stamp(it.until),
        flows=len(it.flows),
        recorded_by=it.who,
        lost=it.lost,
    )


def _proposal(it: Proposal) -> pb.Proposal:
    return pb.Proposal(
        sentence=it.sentence,
        count=it.hits,
        first=messages.stamp(it.first),
        last=messages.stamp(it.last),
        pairs_seen=it.pairs_seen,
        pairs_possible=it.pairs_possible or 0,
    )
