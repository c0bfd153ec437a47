"""The Groups service: groups and network sets, as the revisions define them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from bulkhead.v1 import groups_pb2 as pb
from bulkhead.v1 import groups_pb2_grpc

from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import invalid, not_found
from controlplane.api.services import policy_messages as messages
from controlplane.api.services.workload_service import read_selector
from controlplane.model.workload import Endpoint, Workload
from controlplane.policy.controller import PolicyController
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import MoveError
from controlplane.policy.language.selector import matches

Context = grpc.aio.ServicerContext[Any, Any]


class GroupService(groups_pb2_grpc.GroupsServicer):
    """Answers about groups; they are changed with the policy document."""

    def __init__(self, conductor: PolicyController, answers: PolicyQueries) -> None:
        self._conductor = conductor
        self._answers = answers

    async def ListGroups(
        self, request: pb.ListGroupsRequest, context: Context
    ) -> pb.ListGroupsResponse:
        """All groups of a revision."""
        policy = self._policy(request.revision)
        members = self._members(policy)
        rows = (self._group(name, policy, members[name]) for name in sorted(policy.groups))
        return pb.ListGroupsResponse(groups=rows)

    async def GetGroup(self, request: pb.GetGroupRequest, context: Context) -> pb.GetGroupResponse:
        """One group with its members."""
        policy = self._policy(request.revision)
        if request.name not in policy.groups:
            raise not_found(f"there is no group {request.name!r} in this revision")
        members = self._members(policy)[request.name]
        return pb.GetGroupResponse(
            group=self._group(request.name, policy, members), members=map(self.member, members)
        )

    async def TrySelector(
        self, request: pb.TrySelectorRequest, context: Context
    ) -> pb.TrySelectorResponse:
        """Whom a selector would choose."""
        selector = read_selector(request.selector)
        if selector is None:
            raise invalid("selector: write one, such as env=prod")
        chosen = (
            each
            for each in self._visible()
            if isinstance(each, Workload)
            and matches(selector, each.tags)
            and request.vrf in ("", each.vrf)
        )
        return pb.TrySelectorResponse(members=map(self.member, chosen))

    async def ListNetworkSets(
        self, request: pb.ListNetworkSetsRequest, context: Context
    ) -> pb.ListNetworkSetsResponse:
        """The network sets of a revision."""
        policy = self._policy(request.revision)
        sets = (
            pb.NetworkSet(name=name, prefixes=map(str, network.prefixes))
            for name, network in sorted(policy.networks.items())
        )
        return pb.ListNetworkSetsResponse(network_sets=sets)

    def member(self, claimant: Endpoint) -> pb.GroupMember:
        """A workload here, or a prefix of another node."""
        if isinstance(claimant, Workload):
            prefixes = [messages.short(str(prefix)) for prefix in claimant.addresses]
            return pb.GroupMember(workload=claimant.name, vrf=claimant.vrf, prefixes=prefixes)
        place = (claimant.vrf, claimant.prefix)
        claim = self._conductor.director.population.claims.get(place)
        return pb.GroupMember(
            vrf=claimant.vrf,
            prefixes=[messages.short(str(claimant.prefix))],
            node=claim.node if claim else "",
        )

    def _policy(self, revision: str) -> Policy:
        if not revision:
            return self._answers.policy
        try:
            return self._conductor.director.ledger.find(revision).policy
        except MoveError as error:
            raise not_found(str(error)) from None

    def _visible(self) -> Iterator[Endpoint]:
        caller = CALLER.get()
        return (c for c in self._answers.inventory.claimants() if caller.may_see(c.vrf))

    def _members(self, policy: Policy) -> dict[str, list[Endpoint]]:
        directory = self._answers.directory(policy)
        found: dict[str, list[Endpoint]] = {name: [] for name in policy.groups}
        for claimant in self._visible():
            for name in directory.groups_of(claimant) or ():
                found[name].append(claimant)
        return found

    @staticmethod
    def _group(name: str, policy: Policy, members: list[Endpoint]) -> pb.Group:
        local = sum(isinstance(member, Workload) for member in members)
        return messages.group(policy.groups[name], policy, local, len(members) - local)
