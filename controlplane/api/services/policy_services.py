"""All services of microsegmentation, for `serve_api(more_services=...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc
from bulkhead.v1 import (
    evidence_pb2,
    evidence_pb2_grpc,
    flows_pb2,
    flows_pb2_grpc,
    groups_pb2,
    groups_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    workloads_pb2,
    workloads_pb2_grpc,
)

from controlplane.api.compute.pool import ComputePool
from controlplane.api.services.evidence_service import EvidenceService
from controlplane.api.services.flow_service import FlowService
from controlplane.api.services.group_service import GroupService
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.services.policy_service import PolicyService
from controlplane.api.services.queries import Queries
from controlplane.api.services.workload_service import WorkloadService
from controlplane.model.view import NodeView


def segment_services(
    controller: PolicyAccess, view: NodeView, pool: ComputePool
) -> Callable[[grpc.aio.Server], Iterable[str]]:
    """Return a function that adds the services to a server and returns their full names."""
    queries = Queries(pool, controller)

    def add(server: grpc.aio.Server) -> Iterable[str]:
        workloads_pb2_grpc.add_WorkloadsServicer_to_server(
            WorkloadService(controller, queries), server
        )
        groups_pb2_grpc.add_GroupsServicer_to_server(GroupService(queries), server)
        policy_pb2_grpc.add_PolicyServicer_to_server(
            PolicyService(controller, queries, view), server
        )
        flows_pb2_grpc.add_FlowsServicer_to_server(FlowService(controller, queries), server)
        evidence_pb2_grpc.add_EvidenceServicer_to_server(EvidenceService(queries), server)
        contracts = (
            (workloads_pb2, "Workloads"),
            (groups_pb2, "Groups"),
            (policy_pb2, "Policy"),
            (flows_pb2, "Flows"),
            (evidence_pb2, "Evidence"),
        )
        return [m.DESCRIPTOR.services_by_name[name].full_name for m, name in contracts]

    return add
