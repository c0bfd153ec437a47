"""The Flows service: flow records, the map, baselines, and the rules that they suggest."""

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
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import span_of
from controlplane.api.services.flow_watcher import FlowWatcher
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.services.queries import Encoded, Queries
from controlplane.model.observed import Baseline, Flow
from controlplane.policy.endpoints.held import FindHolders
from controlplane.policy.insight.flowbook import Seen, has_changed_hands, merged
from controlplane.policy.insight.replica_feed import Needs
from controlplane.policy.language.syntax import is_name

OBSERVED_AT_ONCE = 1_000
Context = grpc.aio.ServicerContext[Any, Any]


class FlowService(flows_pb2_grpc.FlowsServicer):
    """Serves one node's flows."""

    def __init__(self, controller: PolicyAccess, queries: Queries) -> None:
        self._controller = controller
        self._queries = queries

    async def QueryFlows(
        self, request: pb.QueryFlowsRequest, context: Context
    ) -> AsyncIterator[Encoded]:
        """Yield flows, those seen last first; at least one message, with the losses."""
        for part in await self._queries.parts("QueryFlows", request, needs=Needs(flows=True)):
            yield part

    async def WatchFlows(
        self, request: pb.WatchFlowsRequest, context: Context
    ) -> AsyncIterator[pb.WatchFlowsResponse]:
        """Yield flow records as they come."""
        book, watcher = self._controller.book, FlowWatcher(CALLER.get().vrfs)
        await self._queries.parts("watched_flows", request, (), 0, 0.0)  # refuses a wrong filter
        book.watch(watcher.add)
        try:
            while True:
                seen = await watcher.next()
                arguments = (seen, book.lost, book.last_lost)
                for part in await self._queries.parts("watched_flows", request, *arguments):
                    response = pb.WatchFlowsResponse.FromString(part)
                    response.skipped = watcher.skipped
                    yield response
        finally:
            book.leave(watcher.add)

    async def GetMap(self, request: pb.GetMapRequest, context: Context) -> Encoded:
        """Return groups, and the flows between them."""
        return await self._queries.answer("GetMap", request, needs=Needs(flows=True))

    async def RecordBaseline(
        self, request: pb.RecordBaselineRequest, context: Context
    ) -> pb.RecordBaselineResponse:
        """Declare what was seen in a span of time to be good."""
        controller = self._controller
        if not is_name(request.name):
            what = f"{request.name!r} is no name: a-z first, then a-z 0-9 _ . -"
            raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [("name", what)])
        now = controller.now()
        since, until = span_of(request, "", now)
        known, pruned = controller.baselines.get(request.name), tuple[str, ...]()
        if known is None:
            since = max(since, min(controller.started, now))
            seen = list(controller.book.seen(since, until))
            flows = await _observed(seen, controller.state.population.holders)
            who = CALLER.get().signature
            recorded = Baseline(request.name, since, until, who, controller.book.lost, flows)
            known, pruned = await controller.record_baseline(recorded)
            if known is recorded:
                CHANGE.get().after = f"{len(flows)} flows"
        # Another caller may have recorded one of that name meanwhile.
        if not _same_span(request, known):
            text = f"the baseline {request.name!r} covers another span of time"
            raise StatusError(grpc.StatusCode.ALREADY_EXISTS, text)
        return pb.RecordBaselineResponse(baseline=_baseline(known), pruned=pruned)

    async def ListBaselines(
        self, request: pb.ListBaselinesRequest, context: Context
    ) -> pb.ListBaselinesResponse:
        """Return baselines, without their flows."""
        rows = sorted(self._controller.baselines.values(), key=lambda each: each.until)
        return pb.ListBaselinesResponse(baselines=map(_baseline, rows))

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> Encoded:
        """Return rules for the flows of a baseline, or for all that were seen."""
        needs = Needs(flows=not request.baseline, baseline=self._queries.baseline(request.baseline))
        return await self._queries.answer("Recommend", request, needs=needs)


async def _observed(seen: list[Seen], holders: FindHolders) -> tuple[Flow, ...]:
    """Return the flows of a baseline: those whose beginning was seen, and whose addresses have no
    other workload now; of two hundred thousand the loop makes some at a time."""
    found: dict[bytes, Flow] = {}
    for start in range(0, len(seen), OBSERVED_AT_ONCE):
        some = (each for each in seen[start : start + OBSERVED_AT_ONCE] if not each.older)
        merged((each for each in some if not has_changed_hands(each, holders)), found)
        await asyncio.sleep(0)
    return tuple(found.values())


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
