"""Answer about groups and network sets, as the revisions define them."""

from __future__ import annotations

from collections.abc import Iterator

from bulkhead.v1 import groups_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import invalid, not_found
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import refuse_vrf
from controlplane.api.answers.selectors import read_selector
from controlplane.model.name_list import those
from controlplane.model.workload import Endpoint, Workload
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.selector import matches


def list_groups(replica: Replica, request: bytes, revision: str) -> Iterator[bytes]:
    """Yield all groups of a revision that the caller may see."""
    del request
    view = _view(replica)
    policy = _policy(replica, view, revision)
    members = _members(view, policy)
    rows = (_group(name, policy, members[name]) for name in sorted(policy.groups))
    yield pb.ListGroupsResponse(groups=rows).SerializeToString()


def get_group(replica: Replica, request: bytes, revision: str) -> Iterator[bytes]:
    """Yield one group with its members."""
    name, view = pb.GetGroupRequest.FromString(request).name, _view(replica)
    policy = _policy(replica, view, revision)
    if name not in policy.groups:
        text = f"there is no group {name!r} in this revision{those('groups', policy.groups)}"
        raise not_found(text)
    members = _members(view, policy)[name]
    yield pb.GetGroupResponse(
        group=_group(name, policy, members), members=(member(view, each) for each in members)
    ).SerializeToString()


def try_selector(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield the workloads that a selector chooses."""
    query, view = pb.TrySelectorRequest.FromString(request), _view(replica)
    selector = read_selector(query.selector)
    refuse_vrf(query.vrf, view.vrfs)
    if selector is None:
        raise invalid("selector: write one, such as env=prod")
    chosen = (
        each
        for each in view.inventory.workloads
        if matches(selector, each.tags) and query.vrf in ("", each.vrf)
    )
    yield pb.TrySelectorResponse(
        members=(member(view, each) for each in chosen)
    ).SerializeToString()


def list_network_sets(replica: Replica, request: bytes, revision: str) -> Iterator[bytes]:
    """Yield the network sets of a revision that the caller may see."""
    del request
    policy = _policy(replica, _view(replica), revision)
    sets = (
        pb.NetworkSet(name=name, prefixes=map(str, network.prefixes))
        for name, network in sorted(policy.networks.items())
    )
    yield pb.ListNetworkSetsResponse(network_sets=sets).SerializeToString()


def member(view: View, claimant: Endpoint) -> pb.GroupMember:
    """Return a workload here, or a prefix of another node."""
    if isinstance(claimant, Workload):
        prefixes = [messages.short(str(prefix)) for prefix in claimant.addresses]
        return pb.GroupMember(workload=claimant.name, vrf=claimant.vrf, prefixes=prefixes)
    claim = view.population.remote.get((claimant.vrf, claimant.prefix))
    return pb.GroupMember(
        vrf=claimant.vrf,
        prefixes=[messages.short(str(claimant.prefix))],
        node=claim.node if claim else "",
    )


def _view(replica: Replica) -> View:
    return replica.view(CALLER.get().vrfs)


def _policy(replica: Replica, view: View, revision: str) -> Policy:
    """Return the enforced policy, or the revision of a digest."""
    return view.part(replica.policy(revision)) if revision else view.queries.policy


def _members(view: View, policy: Policy) -> dict[str, list[Endpoint]]:
    directory = view.queries.directory(policy)
    found: dict[str, list[Endpoint]] = {name: [] for name in policy.groups}
    for claimant in view.inventory.claimants():
        for name in directory.groups_of(claimant) or ():
            found[name].append(claimant)
    return found


def _group(name: str, policy: Policy, members: list[Endpoint]) -> pb.Group:
    local = sum(isinstance(member, Workload) for member in members)
    return messages.group(policy.groups[name], policy, local, len(members) - local)
