"""Which endpoint has which address: workloads here, remote endpoints, addresses in hold-down.

An address that lost its owner is held down: it is pending, so denied, until an endpoint has it
again or the hold-down ends. Otherwise a workload on its way from one PE to another would for a
moment have no groups, and a rule that denies these groups would not match it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.prefix import IPAddress, Prefix, mask
from controlplane.model.workload import Endpoint, RemoteEndpoint, RemotePrefix, Workload
from controlplane.policy.endpoints.followed import FollowedDict
from controlplane.policy.endpoints.held import Held, held_by

MOST_HOLDERS = 50_000
"""Addresses whose holders are remembered until an endpoint changes."""


@dataclass(slots=True)
class EndpointRegistry:
    """Hold the endpoints of this node. Only PolicyState changes them: it updates the compilers."""

    attachments: dict[str, Attachment] = field(default_factory=FollowedDict)
    remote: dict[EndpointKey, RemoteEndpoint] = field(default_factory=FollowedDict)
    held_down: dict[EndpointKey, float] = field(default_factory=FollowedDict)
    _owners: dict[EndpointKey, set[str]] = field(default_factory=dict)
    _in_vrf: Counter[str] = field(default_factory=Counter)
    _lengths: dict[str, Counter[int]] = field(default_factory=dict)
    _holders: dict[tuple[str, bytes], Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Compute workers keep a copy by what changes here.
        self.attachments = FollowedDict(self.attachments)
        self.remote = FollowedDict(self.remote)
        self.held_down = FollowedDict(self.held_down)
        for attachment in self.attachments.values():
            self._own(attachment.workload)
            self._in_vrf[attachment.workload.vrf] += 1
        for place in (*self.remote, *self.held_down):
            self._in_vrf[place[0]] += 1
            self._measure(place, 1)

    def attach(self, attachment: Attachment) -> None:
        """Add a workload, in place of the one of its name; end its addresses' hold-down."""
        self._holders.clear()
        former = self.attachments.get(attachment.workload.name)
        if former is not None:
            self._disown(former.workload)
            self._count(former.workload.vrf, -1)
        self.attachments[attachment.workload.name] = attachment
        self._own(attachment.workload)
        self._count(attachment.workload.vrf, 1)
        self.end_hold_down(places(attachment.workload))

    def detach(self, name: str) -> Workload:
        """Forget a workload; raises KeyError."""
        self._holders.clear()
        workload = self.attachments.pop(name).workload
        self._disown(workload)
        self._count(workload.vrf, -1)
        return workload

    def learn(self, place: EndpointKey, endpoint: RemoteEndpoint) -> None:
        """Take in a remote endpoint, in place of the one of its key; end the key's hold-down."""
        self._holders.clear()
        if place not in self.remote:
            self._count(place[0], 1)
            self._measure(place, 1)
        self.remote[place] = endpoint
        self.end_hold_down([place])

    def forget(self, place: EndpointKey) -> bool:
        """Forget a remote endpoint; return whether it was there."""
        if place not in self.remote:
            return False
        self._holders.clear()
        del self.remote[place]
        self._count(place[0], -1)
        self._measure(place, -1)
        return True

    def hold_down(self, keys: Iterable[EndpointKey], until: float) -> None:
        """Hold keys down that no endpoint has."""
        self._holders.clear()
        for place in keys:
            if place not in self.held_down:
                self._count(place[0], 1)
                self._measure(place, 1)
            self.held_down[place] = until

    def end_hold_down(self, keys: Iterable[EndpointKey]) -> None:
        """End the hold-down of keys, where there is one."""
        for place in keys:
            if place in self.held_down:
                self._holders.clear()
                del self.held_down[place]
                self._count(place[0], -1)
                self._measure(place, -1)

    def owners(self, place: EndpointKey) -> frozenset[str]:
        """Return the names of the workloads here that have exactly this prefix."""
        return frozenset(self._owners.get(place, ()))

    def owned(self) -> Iterator[EndpointKey]:
        """Yield the keys of all workloads here."""
        return iter(self._owners)

    def orphans(self, of: Iterable[EndpointKey]) -> list[EndpointKey]:
        """Return those of the keys that no endpoint has."""
        return [p for p in of if p not in self._owners and p not in self.remote]

    def present(self, name: str) -> Workload:
        """Return a workload with the addresses that no remote endpoint has."""
        workload = self.attachments[name].workload
        here = tuple(p for p in workload.addresses if (workload.vrf, p) not in self.remote)
        return workload if len(here) == len(workload.addresses) else replace(
            workload, addresses=here
        )  # fmt: skip

    def remote_at(self, place: EndpointKey) -> RemotePrefix | None:
        """Return the remote endpoint of a key, or the pending one of a key in hold-down."""
        endpoint = self.remote.get(place)
        if endpoint is not None:
            return _remote_prefix(place, endpoint)
        return RemotePrefix(*place, None) if place in self.held_down else None

    def holders(self, vrf: str, address: IPAddress) -> Held:
        """Return the endpoints that have an address: those of the longest prefix, as claimants.

        Looks up one prefix for each length in use in the VRF.
        """
        key = (vrf, address.packed)
        found = self._holders.get(key)
        if found is None:
            if len(self._holders) >= MOST_HOLDERS:
                self._holders.clear()
            found = self._holders[key] = held_by(self._claimants_of(*key))
        return found

    def _claimants_of(self, vrf: str, packed: bytes) -> tuple[Endpoint, ...]:
        for length in sorted(self._lengths.get(vrf, ()), reverse=True):
            if length > 8 * len(packed):
                continue
            place = (vrf, Prefix(mask(packed, length), length))
            remote = self.remote_at(place)
            names = () if place in self.remote else sorted(self._owners.get(place, ()))
            found: list[Endpoint] = [self.present(name) for name in names]
            if remote is not None:
                found.append(remote)
            if found:
                return tuple(found)
        return ()

    def claimants(self) -> Iterator[Endpoint]:
        """Yield all endpoints, as a compiler needs them."""
        for name in self.attachments:
            yield self.present(name)
        yield from self.remotes()

    def remotes(self) -> Iterator[RemotePrefix]:
        """Yield the remote endpoints, and the addresses in hold-down as pending ones."""
        for place, endpoint in self.remote.items():
            yield _remote_prefix(place, endpoint)
        for place in self.held_down:
            if place not in self.remote:
                yield RemotePrefix(*place, None)

    def has_any(self, vrf: str) -> bool:
        """Return whether an endpoint has an address in a VRF, or one is held down there."""
        return vrf in self._in_vrf

    def _count(self, vrf: str, more: int) -> None:
        self._in_vrf[vrf] += more
        if not self._in_vrf[vrf]:
            del self._in_vrf[vrf]

    def _measure(self, place: EndpointKey, more: int) -> None:
        lengths = self._lengths.setdefault(place[0], Counter())
        lengths[place[1].length] += more
        if not lengths[place[1].length]:
            del lengths[place[1].length]
            if not lengths:
                del self._lengths[place[0]]

    def _own(self, workload: Workload) -> None:
        for place in places(workload):
            if place not in self._owners:
                self._measure(place, 1)
            self._owners.setdefault(place, set()).add(workload.name)

    def _disown(self, workload: Workload) -> None:
        for place in places(workload):
            owners = self._owners.get(place, set())
            owners.discard(workload.name)
            if not owners and self._owners.pop(place, None) is not None:
                self._measure(place, -1)


def _remote_prefix(place: EndpointKey, endpoint: RemoteEndpoint) -> RemotePrefix:
    return RemotePrefix(*place, endpoint.groups, endpoint.staged, endpoint.meanings)


def places(workload: Workload) -> list[EndpointKey]:
    """Return the endpoint keys of a workload."""
    return [(workload.vrf, prefix) for prefix in workload.addresses]


def latest_move(remote: Mapping[EndpointKey, RemoteEndpoint], workload: Workload) -> int | None:
    """Return how often the addresses have moved, as advertised by the other PEs; None if no other
    PE has this workload."""
    found = (remote[place] for place in places(workload) if place in remote)
    return max((it.moves for it in found if it.is_of(workload.name)), default=None)
