"""List workloads with their groups."""

from __future__ import annotations

from collections.abc import Iterator

from bulkhead.v1 import workloads_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import refuse_vrf
from controlplane.api.answers.selectors import read_selector
from controlplane.policy.insight.replica import Replica
from controlplane.policy.language.selector import matches


def list_workloads(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield the workloads that match."""
    query, view = pb.ListWorkloadsRequest.FromString(request), replica.view(CALLER.get().vrfs)
    refuse_vrf(query.vrf, view.vrfs)
    selector, attachments = read_selector(query.selector), view.population.attachments
    rows = (
        messages.workload(
            attachments[name], view.queries.groups_of(attachments[name].workload), view.population
        )
        for name in sorted(attachments)
        if query.vrf in ("", attachments[name].workload.vrf)
        and (selector is None or matches(selector, attachments[name].workload.tags))
    )
    yield pb.ListWorkloadsResponse(workloads=rows).SerializeToString()
