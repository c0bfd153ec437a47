"""The Evidence service: what an auditor asks about the workloads that a selector chooses."""

from __future__ import annotations

from typing import Any

import grpc
from bulkhead.v1 import evidence_pb2 as pb
from bulkhead.v1 import evidence_pb2_grpc

from controlplane.api.services.queries import Encoded, Queries
from controlplane.policy.insight.replica_feed import Needs

Context = grpc.aio.ServicerContext[Any, Any]


class EvidenceService(evidence_pb2_grpc.EvidenceServicer):
    """Gathers evidence from what this node has recorded."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> Encoded:
        """Return all that concerns some workloads, in one answer."""
        needs = Needs(flows=True, history=True)
        return await self._queries.answer("GetEvidence", request, needs=needs)
