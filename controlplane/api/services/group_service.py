"""The Groups service: groups and network sets, as the revisions define them."""

from __future__ import annotations

from typing import Any

import grpc
from bulkhead.v1 import groups_pb2 as pb
from bulkhead.v1 import groups_pb2_grpc

from controlplane.api.services.queries import Encoded, Queries
from controlplane.policy.insight.replica_feed import Needs

Context = grpc.aio.ServicerContext[Any, Any]
_Revisioned = pb.ListGroupsRequest | pb.GetGroupRequest | pb.ListNetworkSetsRequest


class GroupService(groups_pb2_grpc.GroupsServicer):
    """Answers about groups; they are changed with the policy document."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Context) -> Encoded:
        """Return all groups of a revision."""
        return await self._of_revision("ListGroups", request)

    async def GetGroup(self, request: pb.GetGroupRequest, context: Context) -> Encoded:
        """Return one group with its members."""
        return await self._of_revision("GetGroup", request)

    async def TrySelector(self, request: pb.TrySelectorRequest, context: Context) -> Encoded:
        """Return the workloads that a selector chooses."""
        return await self._queries.answer("TrySelector", request)

    async def ListNetworkSets(
        self, request: pb.ListNetworkSetsRequest, context: Context
    ) -> Encoded:
        """Return the network sets of a revision."""
        return await self._of_revision("ListNetworkSets", request)

    async def _of_revision(self, name: str, request: _Revisioned) -> Encoded:
        found = self._queries.revision(request.revision).digest if request.revision else ""
        needs = Needs(revisions=(found,) if found else ())
        return await self._queries.answer(name, request, found, needs=needs)
