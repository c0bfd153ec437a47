"""Who is there: workloads attached here, prefixes that other PEs announced, and the VRFs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from controlplane.model.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Workload:
    """One attached workload. `addresses` are host prefixes or whole networks behind `port`."""

    name: str
    vrf: str
    port: str
    addresses: tuple[Prefix, ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the key of this workload among endpoints."""
        return f"workload {self.name}"


class StagedGroups(NamedTuple):
    """The group ids of a workload under the revision that the PE of the workload has staged.

    ``revision`` is the number of that revision (`revision_number`).
    """

    revision: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class RemotePrefix:
    """A VPN route of another PE with the group ids of its large communities.

    ``groups`` are those of the revision that the other PE enforces. None: the route is expected
    or its groups are not known yet; it is denied until they are. An empty set is a workload that
    is in no group. ``staged``, where its PE has staged a revision under which they are others.
    """

    vrf: str
    prefix: Prefix
    groups: frozenset[int] | None
    staged: StagedGroups | None = None

    def groups_under(self, revision: int) -> frozenset[int] | None:
        """Return the ids by which a policy judges: those that the other PE found by the same
        revision, also where it has only staged it, else those of what it enforces.

        Ids that the policy does not name mean nothing: no PE's staging changes what another
        enforces.
        """
        if self.staged is not None and self.staged.revision == revision and self.groups is not None:
            return self.staged.groups
        return self.groups

    @property
    def key(self) -> str:
        """Return the key of this route among endpoints."""
        return f"route {self.vrf} {self.prefix}"


Endpoint = Workload | RemotePrefix


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that has an address, and the VRFs (zones) of this PE."""

    zones: frozenset[str]
    workloads: tuple[Workload, ...] = ()
    remotes: tuple[RemotePrefix, ...] = ()

    def __post_init__(self) -> None:
        names = [workload.name for workload in self.workloads]
        if len(set(names)) != len(names):
            raise ValueError("two workloads have the same name")
        for claimant in self.claimants():
            if claimant.vrf not in self.zones:
                raise ValueError(f"{claimant.key} is in VRF {claimant.vrf!r}, which is not here")

    def claimants(self) -> Iterator[Endpoint]:
        """Yield the endpoints: workloads, then remote prefixes."""
        yield from self.workloads
        yield from self.remotes


class RemoteEndpoint(msgspec.Struct, frozen=True):
    """The group ids that a route from another PE (or from another VRF here) carries.

    ``node`` is the next hop, "" for a VRF of this node; ``moves`` and ``staged`` as in
    ``WorkloadAttached``.
    """

    groups: frozenset[int]
    node: str = ""
    moves: int = 0
    staged: StagedGroups | None = None


class RemoteEndpointsChanged(msgspec.Struct, frozen=True):
    """Prefixes of a VRF whose best route carries groups now; None: carries them no more."""

    vrf: str
    remote: dict[Prefix, RemoteEndpoint | None]


class WorkloadAttached(msgspec.Struct, frozen=True, kw_only=True):
    """The routes of a workload; they replace those that it had.

    ``groups`` are the ids under the enforced revision, ``staged`` those under the staged one
    where they are others; its routes carry both. ``moves`` counts how often it came here from
    another PE: the route of the latest move wins everywhere.
    """

    name: str
    vrf: str
    port: str
    prefixes: tuple[Prefix, ...]
    groups: frozenset[int]
    staged: StagedGroups | None = None
    moves: int = 0


class WorkloadDetached(msgspec.Struct, frozen=True):
    """A workload has left this PE: its routes are withdrawn, if it had any."""

    name: str


@dataclass(frozen=True, slots=True)
class Packet:
    """The part of a flow's opening packet that a policy looks at.

    `family` is 4 or 6; `dport` counts for TCP, UDP, SCTP, DCCP and UDP-Lite, `icmp_type` for
    ICMP. `sport` is carried for the record: no policy depends on it.
    """

    family: int
    protocol: int
    dport: int = 0
    icmp_type: int = 0
    sport: int = 0
