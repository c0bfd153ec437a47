"""Who is there: workloads attached here, prefixes that other PEs announced, and the VRFs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import msgspec

from controlplane.model.prefix import Prefix

HERE = "here"
"""This node, among those that claim an address."""
OTHER_VRF = "another VRF"
"""Where a claim of this node comes from that is of no other PE."""


@lru_cache(maxsize=65536)
def digest_31(text: str) -> int:
    """Return 31 bits of the SHA-256 of a text: what travels of a name in a large community."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


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
    ``meanings`` as in ``RemoteEndpoint``.
    """

    vrf: str
    prefix: Prefix
    groups: frozenset[int] | None
    staged: StagedGroups | None = None
    meanings: frozenset[int] | None = None

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

    ``node`` is the next hop, "" for a VRF of this node; ``moves``, ``staged`` and ``meanings`` as
    in ``WorkloadAttached``. ``name`` is the digest (`digest_31`) of the workload's name. A PE of
    an earlier version sends neither name nor meanings: None.

    ``conflict`` has the nodes, `HERE` among them, that claim the prefix under different names;
    then ``groups`` is None: nothing is known of the address.
    """

    groups: frozenset[int] | None
    node: str = ""
    moves: int = 0
    staged: StagedGroups | None = None
    name: int | None = None
    meanings: frozenset[int] | None = None
    conflict: tuple[str, ...] = ()

    @property
    def is_pending(self) -> bool:
        """True while the address has no identity."""
        return self.groups is None

    def is_of(self, name: str) -> bool:
        """Return whether it may be the workload of that name: an earlier version sends none."""
        return not self.conflict and self.name in (None, digest_31(name))


class RemoteEndpointsChanged(msgspec.Struct, frozen=True):
    """Prefixes of a VRF whose best route carries groups now; None: carries them no more."""

    vrf: str
    remote: dict[Prefix, RemoteEndpoint | None]


class WorkloadAttached(msgspec.Struct, frozen=True, kw_only=True):
    """The routes of a workload; they replace those that it had.

    ``groups`` are the ids under the enforced revision, ``staged`` those under the staged one
    where they are others; its routes carry both. ``meanings`` are the digests of what the ids
    stand for (`meaning_of`). ``moves`` counts how often it came here from another PE: the route of
    the latest move wins everywhere.
    """

    name: str
    vrf: str
    port: str
    prefixes: tuple[Prefix, ...]
    groups: frozenset[int]
    staged: StagedGroups | None = None
    meanings: frozenset[int] = frozenset()
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
