"""Who has which address at the moment: workloads here, claims from elsewhere, and what rests.

An address that lost its owner rests: it is pending, so denied, until somebody claims it again or
its time is over. Otherwise a workload on its way from one PE to another would for a moment be
nobody, and a policy that speaks of its groups would not mean it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.workload import Endpoint, RemoteEndpoint, RemotePrefix, Workload
from controlplane.policy.endpoints.followed import FollowedDict


@dataclass(slots=True)
class EndpointRegistry:
    """Changes are made by the director, which knows what to tell the compilers."""

    attachments: dict[str, Attachment] = field(default_factory=FollowedDict)
    claims: dict[EndpointKey, RemoteEndpoint] = field(default_factory=FollowedDict)
    resting: dict[EndpointKey, float] = field(default_factory=FollowedDict)
    _owners: dict[EndpointKey, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Compute workers keep a copy by what changes here.
        self.attachments = FollowedDict(self.attachments)
        self.claims = FollowedDict(self.claims)
        self.resting = FollowedDict(self.resting)
        for attachment in self.attachments.values():
            self._own(attachment.workload)

    def attach(self, attachment: Attachment) -> None:
        """Know a workload, in place of the one of its name; its addresses rest no more."""
        former = self.attachments.get(attachment.workload.name)
        if former is not None:
            self._disown(former.workload)
        self.attachments[attachment.workload.name] = attachment
        self._own(attachment.workload)
        for place in places(attachment.workload):
            self.resting.pop(place, None)

    def detach(self, name: str) -> Workload:
        """Forget a workload; raises KeyError."""
        workload = self.attachments.pop(name).workload
        self._disown(workload)
        return workload

    def owners(self, place: EndpointKey) -> frozenset[str]:
        """The names of the workloads here that have exactly this prefix."""
        return frozenset(self._owners.get(place, ()))

    def owned(self) -> Iterator[EndpointKey]:
        """The places of all workloads here."""
        return iter(self._owners)

    def orphans(self, of: Iterable[EndpointKey]) -> list[EndpointKey]:
        """Those of the places that nobody has."""
        return [p for p in of if p not in self._owners and p not in self.claims]

    def present(self, name: str) -> Workload:
        """A workload with the addresses that are still here: others have moved away."""
        workload = self.attachments[name].workload
        here = tuple(p for p in workload.addresses if (workload.vrf, p) not in self.claims)
        return workload if len(here) == len(workload.addresses) else replace(
            workload, addresses=here
        )  # fmt: skip

    def claimant_at(self, place: EndpointKey) -> RemotePrefix | None:
        """The claim on a place, or the pending one of a place that rests."""
        claim = self.claims.get(place)
        if claim is not None:
            return RemotePrefix(*place, claim.groups)
        return RemotePrefix(*place, None) if place in self.resting else None

    def claimants(self) -> Iterator[Endpoint]:
        """Everybody, as a compiler wants them."""
        for name in self.attachments:
            yield self.present(name)
        yield from self.remotes()

    def remotes(self) -> Iterator[RemotePrefix]:
        """Claims from elsewhere, and what rests."""
        for place, claim in self.claims.items():
            yield RemotePrefix(*place, claim.groups)
        for place in self.resting:
            if place not in self.claims:
                yield RemotePrefix(*place, None)

    def vrfs(self) -> set[str]:
        """The VRFs in which somebody has, had or claims an address."""
        found = {attachment.workload.vrf for attachment in self.attachments.values()}
        return found | {vrf for vrf, _ in self.claims} | {vrf for vrf, _ in self.resting}

    def _own(self, workload: Workload) -> None:
        for place in places(workload):
            self._owners.setdefault(place, set()).add(workload.name)

    def _disown(self, workload: Workload) -> None:
        for place in places(workload):
            owners = self._owners.get(place, set())
            owners.discard(workload.name)
            if not owners:
                self._owners.pop(place, None)


def places(workload: Workload) -> list[EndpointKey]:
    """Where a workload is."""
    return [(workload.vrf, prefix) for prefix in workload.addresses]


def latest_move(claims: Mapping[EndpointKey, RemoteEndpoint], workload: Workload) -> int | None:
    """How often the addresses have moved, as the other PEs say; None: no other PE has them."""
    found = [claims[place].moves for place in places(workload) if place in claims]
    return max(found, default=None)
