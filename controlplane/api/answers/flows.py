"""Answer about flow records: those that match, the map, and the rules that they suggest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from bulkhead.v1 import flows_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import refuse_vrf
from controlplane.api.answers.flow_filter import Filter, refuse_unknown
from controlplane.api.answers.flow_map import draw
from controlplane.model.observed import Flow
from controlplane.policy.insight.flowbook import Seen, has_changed_hands, merged
from controlplane.policy.insight.recommend import Proposal, recommend
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View

FLOWS_PER_MESSAGE = 500
MOST_UNPLACED = 1_000


def query_flows(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield flows, those seen last first; at least one message, with the losses."""
    query, view = pb.QueryFlowsRequest.FromString(request), _view(replica)
    refuse_unknown(query.filter, view, replica.flows.of(view.vrfs))
    rows = sorted(_chosen(replica, view, query.filter), key=lambda seen: -seen.last)
    rows = rows[: query.limit] if query.limit else rows
    for start in range(0, max(1, len(rows)), FLOWS_PER_MESSAGE):
        piece = rows[start : start + FLOWS_PER_MESSAGE]
        flows = [messages.flow(seen, view.queries) for seen in piece]
        yield pb.QueryFlowsResponse(flows=flows, loss=loss(replica)).SerializeToString()


def watched_flows(
    replica: Replica, request: bytes, seen: tuple[Seen, ...], lost: int, last_lost: float
) -> Iterator[bytes]:
    """Yield a message for each of these records that the watcher wants; with none of them, as
    the watch begins, refuse a filter that names what is not there."""
    view, query = _view(replica), pb.WatchFlowsRequest.FromString(request).filter
    wanted = Filter(query, view.queries)
    if not seen:
        refuse_unknown(query, view, ())
    for each in _with_staged(replica, seen):
        if wanted.passes(each):
            yield pb.WatchFlowsResponse(
                flow=messages.flow(each, view.queries), loss=messages.loss(lost, last_lost)
            ).SerializeToString()


def get_map(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield groups as boxes, what they send to each other as arrows."""
    query, view = pb.GetMapRequest.FromString(request), _view(replica)
    refuse_unknown(query.filter, view, replica.flows.of(view.vrfs))
    vrfs = view.vrfs & {query.filter.vrf} if query.filter.vrf else view.vrfs
    response = draw(_chosen(replica, view, query.filter), view.queries, vrfs)
    response.loss.CopyFrom(loss(replica))
    yield response.SerializeToString()


def recommend_rules(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield rules for the allowed flows that no rule allows yet."""
    query, view = pb.RecommendRequest.FromString(request), _view(replica)
    refuse_vrf(query.vrf, view.vrfs)
    flows = observed_flows(replica, view, query.baseline)
    chosen = [flow for flow in flows if query.vrf in ("", flow.zone)]
    compiled = view.queries.compiled(view.queries.policy)
    advice = recommend(compiled, view.inventory, chosen)
    yield pb.RecommendResponse(
        proposals=map(_proposal, advice.proposals),
        unplaced=[
            pb.Unplaced(flow=messages.observed(each.flow, view.queries), reason=each.why)
            for each in advice.unplaced[:MOST_UNPLACED]
        ],
    ).SerializeToString()


def observed_flows(replica: Replica, view: View, baseline: str) -> list[Flow]:
    """Return the flows of a baseline, or all whose beginning was seen and whose addresses have no
    other workload now."""
    if baseline:
        return list(replica.baselines[baseline])
    found: dict[bytes, Flow] = {}
    rows = (seen for seen in replica.flows.seen(view.vrfs) if not seen.older)
    merged((seen for seen in rows if not has_changed_hands(seen, view.population.holders)), found)
    return list(found.values())


def loss(replica: Replica) -> pb.TelemetryLoss:
    """Return flow records that were lost."""
    return messages.loss(replica.lost, replica.last_lost)


def _view(replica: Replica) -> View:
    return replica.view(CALLER.get().vrfs)


def _chosen(replica: Replica, view: View, query: pb.FlowFilter) -> list[Seen]:
    wanted = Filter(query, view.queries)
    vrfs = view.vrfs & {query.vrf} if query.vrf else view.vrfs
    found = replica.flows.seen(vrfs, wanted.since, wanted.until)
    return [seen for seen in _with_staged(replica, found) if wanted.passes(seen)]


def _with_staged(replica: Replica, flows: Iterable[Seen]) -> Iterator[Seen]:
    """Yield flows with the verdicts of the revision that is staged now, and of no other."""
    for seen in flows:
        verdict = seen.staged
        if verdict is None or (verdict.revision and replica.staged.startswith(verdict.revision)):
            yield seen
        else:
            yield dataclasses.replace(seen, staged=None, staged_count=0)


def _proposal(it: Proposal) -> pb.Proposal:
    return pb.Proposal(
        sentence=it.sentence,
        count=it.hits,
        first=messages.stamp(it.first),
        last=messages.stamp(it.last),
        pairs_seen=it.pairs_seen,
        pairs_possible=it.pairs_possible or 0,
    )
