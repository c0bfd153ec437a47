"""Microsegmentation from Python, one call a method::

    from bulkhead.client import connect
    with connect() as node:
        node.segment.attach("web-1", "red", "ce-web", ["10.1.0.5"], {"tier": "web"})

Messages are those of ``proto/bulkhead/v1``. A failed call raises ``grpc.RpcError``; ``faults``
reads from it which fields were wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import grpc

from bulkhead.v1 import evidence_pb2 as evidence
from bulkhead.v1 import evidence_pb2_grpc, flows_pb2_grpc, groups_pb2_grpc
from bulkhead.v1 import flows_pb2 as flows
from bulkhead.v1 import groups_pb2 as groups
from bulkhead.v1 import policy_pb2 as policy
from bulkhead.v1 import policy_pb2_grpc, workloads_pb2_grpc
from bulkhead.v1 import workloads_pb2 as workloads


class Segment:
    """The services of microsegmentation of one node. ``timeout`` is that of each call."""

    def __init__(self, channel: grpc.Channel, timeout: float) -> None:
        self.timeout = timeout
        self.workloads: Any = workloads_pb2_grpc.WorkloadsStub(channel)
        self.groups: Any = groups_pb2_grpc.GroupsStub(channel)
        self.policy: Any = policy_pb2_grpc.PolicyStub(channel)
        self.flows: Any = flows_pb2_grpc.FlowsStub(channel)
        self.evidence: Any = evidence_pb2_grpc.EvidenceStub(channel)

    # -- workloads ----------------------------------------------------------------------------

    def attach(
        self,
        name: str,
        vrf: str,
        port: str,
        addresses: Sequence[str],
        tags: Mapping[str, str] | None = None,
    ) -> workloads.Workload:
        """Make a workload known, or what it was into this."""
        return self.attach_workload(name, vrf, port, addresses, tags).workload

    def attach_workload(
        self,
        name: str,
        vrf: str,
        port: str,
        addresses: Sequence[str],
        tags: Mapping[str, str] | None = None,
    ) -> workloads.AttachWorkloadResponse:
        """As `attach`, with what was removed by it and what keeps the workload from its peers."""
        wish = workloads.Workload(
            name=name, vrf=vrf, port=port, addresses=addresses, tags=dict(tags or {})
        )
        answer = self.workloads.AttachWorkload(
            workloads.AttachWorkloadRequest(workload=wish), timeout=self.timeout
        )
        return cast(workloads.AttachWorkloadResponse, answer)

    def detach(self, name: str) -> bool:
        """Forget a workload; whether there was one."""
        return self.detach_workload(name).detached

    def detach_workload(self, name: str) -> workloads.DetachWorkloadResponse:
        """As `detach`, with its addresses that are in hold-down now."""
        request = workloads.DetachWorkloadRequest(name=name)
        answer = self.workloads.DetachWorkload(request, timeout=self.timeout)
        return cast(workloads.DetachWorkloadResponse, answer)

    def tag(
        self,
        name: str,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the contract's word
        unset: Iterable[str] = (),
        expected_generation: int = 0,
    ) -> workloads.Workload:
        """Change tags and nothing else."""
        request = workloads.TagWorkloadRequest(
            name=name, set=dict(set or {}), unset=unset, expected_generation=expected_generation
        )
        answer = self.workloads.TagWorkload(request, timeout=self.timeout)
        return cast(workloads.Workload, answer.workload)

    def workload(self, name: str) -> workloads.Workload:
        """One workload."""
        request = workloads.GetWorkloadRequest(name=name)
        answer = self.workloads.GetWorkload(request, timeout=self.timeout)
        return cast(workloads.Workload, answer.workload)

    def list_workloads(self, vrf: str = "", selector: str = "") -> list[workloads.Workload]:
        """The workloads that match, by name."""
        request = workloads.ListWorkloadsRequest(vrf=vrf, selector=selector)
        return list(self.workloads.ListWorkloads(request, timeout=self.timeout).workloads)

    def watch_workloads(
        self, vrf: str = "", selector: str = ""
    ) -> Iterator[workloads.WatchWorkloadsResponse]:
        """Those that match, then every change, for as long as the caller reads."""
        request = workloads.WatchWorkloadsRequest(vrf=vrf, selector=selector)
        return cast(
            Iterator[workloads.WatchWorkloadsResponse], self.workloads.WatchWorkloads(request)
        )

    # -- groups -------------------------------------------------------------------------------

    def list_groups(self, revision: str = "") -> list[groups.Group]:
        """The groups of a revision (the enforced one), with their members counted."""
        request = groups.ListGroupsRequest(revision=revision)
        return list(self.groups.ListGroups(request, timeout=self.timeout).groups)

    def list_network_sets(self, revision: str = "") -> list[groups.NetworkSet]:
        """The network sets of a revision."""
        request = groups.ListNetworkSetsRequest(revision=revision)
        return list(self.groups.ListNetworkSets(request, timeout=self.timeout).network_sets)

    def group(self, name: str, revision: str = "") -> groups.GetGroupResponse:
        """One group and its members."""
        request = groups.GetGroupRequest(name=name, revision=revision)
        answer = self.groups.GetGroup(request, timeout=self.timeout)
        return cast(groups.GetGroupResponse, answer)

    def try_selector(self, selector: str, vrf: str = "") -> list[groups.GroupMember]:
        """The workloads that a selector would choose."""
        request = groups.TrySelectorRequest(selector=selector, vrf=vrf)
        return list(self.groups.TrySelector(request, timeout=self.timeout).members)

    # -- policy -------------------------------------------------------------------------------

    def check(self, document: str) -> policy.CheckPolicyResponse:
        """What is wrong with a document."""
        request = policy.CheckPolicyRequest(document=document)
        answer = self.policy.CheckPolicy(request, timeout=self.timeout)
        return cast(policy.CheckPolicyResponse, answer)

    def what_if(
        self, document: str = "", revision: str = "", baseline: str = ""
    ) -> policy.WhatIfResponse:
        """What would change if this were enforced."""
        request = policy.WhatIfRequest(baseline=baseline, **_what(document, revision))
        return cast(policy.WhatIfResponse, self.policy.WhatIf(request, timeout=self.timeout))

    def stage(
        self,
        document: str = "",
        revision: str = "",
        reason: str = "",
        allow_empty: bool = False,
    ) -> policy.StagePolicyResponse:
        """Evaluate a document or revision beside the enforced one."""
        request = policy.StagePolicyRequest(
            reason=reason, allow_empty=allow_empty, **_what(document, revision)
        )
        answer = self.policy.StagePolicy(request, timeout=self.timeout)
        return cast(policy.StagePolicyResponse, answer)

    def unstage(self, reason: str = "") -> None:
        """Stop evaluating the staged revision."""
        self.policy.UnstagePolicy(policy.UnstagePolicyRequest(reason=reason), timeout=self.timeout)

    def diff(self, before: str = "", after: str = "") -> list[policy.DiffPoliciesResponse.Line]:
        """Two revisions; left out, the enforced and the staged one."""
        request = policy.DiffPoliciesRequest(before=before, after=after)
        return list(self.policy.DiffPolicies(request, timeout=self.timeout).lines)

    def promote(self, expected: str = "", reason: str = "") -> policy.PromotePolicyResponse:
        """Enforce the staged revision."""
        request = policy.PromotePolicyRequest(expected=expected, reason=reason)
        answer = self.policy.PromotePolicy(request, timeout=self.timeout)
        return cast(policy.PromotePolicyResponse, answer)

    def roll_back(self, revision: str = "", reason: str = "") -> policy.RollBackPolicyResponse:
        """Enforce an earlier revision again."""
        request = policy.RollBackPolicyRequest(revision=revision, reason=reason)
        answer = self.policy.RollBackPolicy(request, timeout=self.timeout)
        return cast(policy.RollBackPolicyResponse, answer)

    def revisions(self, limit: int = 0) -> list[policy.Revision]:
        """Revisions, those changed last first."""
        request = policy.ListRevisionsRequest(limit=limit)
        answer = self.policy.ListRevisions(request, timeout=self.timeout)
        return list(answer.revisions)

    def revision(self, digest: str) -> policy.GetRevisionResponse:
        """One revision with its document."""
        request = policy.GetRevisionRequest(revision=digest)
        answer = self.policy.GetRevision(request, timeout=self.timeout)
        return cast(policy.GetRevisionResponse, answer)

    def changes(self, limit: int = 0) -> list[policy.PolicyChange]:
        """Who moved what, the latest first."""
        request = policy.ListChangesRequest(limit=limit)
        return list(self.policy.ListChanges(request, timeout=self.timeout).changes)

    def explain(
        self, source: str, destination: str, service: str, vrf: str = ""
    ) -> policy.ExplainResponse:
        """The way of one packet."""
        request = policy.ExplainRequest(
            vrf=vrf, source=source, destination=destination, service=service
        )
        return cast(policy.ExplainResponse, self.policy.Explain(request, timeout=self.timeout))

    # -- flows --------------------------------------------------------------------------------

    def query_flows(
        self, filter: flows.FlowFilter | None = None, limit: int = 0  # noqa: A002
    ) -> Iterator[flows.QueryFlowsResponse]:
        """Return the flows seen, in pieces; each has the losses too."""
        request = flows.QueryFlowsRequest(filter=filter, limit=limit)
        return cast(
            Iterator[flows.QueryFlowsResponse],
            self.flows.QueryFlows(request, timeout=self.timeout),
        )

    def watch_flows(
        self, filter: flows.FlowFilter | None = None  # noqa: A002
    ) -> Iterator[flows.WatchFlowsResponse]:
        """New flows, for as long as the caller reads."""
        request = flows.WatchFlowsRequest(filter=filter)
        return cast(Iterator[flows.WatchFlowsResponse], self.flows.WatchFlows(request))

    def map(self, filter: flows.FlowFilter | None = None) -> flows.GetMapResponse:  # noqa: A002
        """Groups, and what they say to each other."""
        answer = self.flows.GetMap(flows.GetMapRequest(filter=filter), timeout=self.timeout)
        return cast(flows.GetMapResponse, answer)

    def record_baseline(
        self, name: str, since: datetime | None = None, until: datetime | None = None
    ) -> flows.RecordBaselineResponse:
        """Declare what was seen in a span of time (all) to be good; the answer names what was
        pruned for it. A time without a zone is UTC."""
        request = flows.RecordBaselineRequest(name=name)
        set_span(request, since, until)
        answer = self.flows.RecordBaseline(request, timeout=self.timeout)
        return cast(flows.RecordBaselineResponse, answer)

    def baselines(self) -> list[flows.Baseline]:
        """Baselines by name."""
        answer = self.flows.ListBaselines(flows.ListBaselinesRequest(), timeout=self.timeout)
        return list(answer.baselines)

    def recommend(self, baseline: str = "", vrf: str = "") -> flows.RecommendResponse:
        """Rules for what was seen."""
        request = flows.RecommendRequest(baseline=baseline, vrf=vrf)
        return cast(flows.RecommendResponse, self.flows.Recommend(request, timeout=self.timeout))

    def get_evidence(
        self, selector: str, since: datetime | None = None, until: datetime | None = None
    ) -> evidence.GetEvidenceResponse:
        """What an auditor asks about the workloads that a selector chooses. A time without a zone
        is UTC; left out, as far back as the node remembers, and now."""
        request = evidence.GetEvidenceRequest(selector=selector)
        set_span(request, since, until)
        answer = self.evidence.GetEvidence(request, timeout=self.timeout)
        return cast(evidence.GetEvidenceResponse, answer)


def set_span(request: Any, since: datetime | None, until: datetime | None) -> None:
    """Set the span of time of a request or filter; a time without a zone is UTC."""
    if since is not None:
        request.since.FromDatetime(since)
    if until is not None:
        request.until.FromDatetime(until)


def _what(document: str, revision: str) -> dict[str, str]:
    return {"revision": revision} if revision and not document else {"document": document}


def faults(error: grpc.RpcError) -> list[tuple[str, str]]:
    """Which fields of a refused call were wrong, and why."""
    from google.rpc import error_details_pb2, status_pb2

    if not isinstance(error, grpc.Call):
        return []
    found: list[tuple[str, str]] = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                bad = error_details_pb2.BadRequest()
                if packed.Unpack(bad):
                    found += [(v.field, v.description) for v in bad.field_violations]
    return found
