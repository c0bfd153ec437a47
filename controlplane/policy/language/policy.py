"""The policy document, typed: groups, network sets, modes and rules."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.model.prefix import Prefix
from controlplane.model.workload import digest_31
from controlplane.policy.language.rule import Rule
from controlplane.policy.language.selector import Selector
from controlplane.policy.language.service import Service

MAX_GROUP_ID = 2**32 - 1
"""A group id fills one field of a large community (RFC 8092)."""


class Mode(enum.StrEnum):
    """What happens to a new flow that no rule decides."""

    VISIBILITY = "visibility"
    SELECTIVE = "selective"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """A mode; `services` are those denied by default in `selective`, else empty."""

    mode: Mode = Mode.VISIBILITY
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes by group and VRF; a group's beats its VRF's, a VRF's beats `default`."""

    default: ModeSetting = ModeSetting()
    vrfs: Mapping[str, ModeSetting] = field(default_factory=dict)
    groups: Mapping[str, ModeSetting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads selected by tags; `id` (1..2^32-1) is the same on every PE of the fleet.

    A selector written straight into a rule makes an `implicit` group: its name is the
    canonical text of the selector, its id is derived from that text.
    """

    name: str
    id: int
    selector: Selector
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSet:
    """A named set of prefixes outside: addresses that belong to no workload."""

    name: str
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole document. `rules` are in the order of evaluation (tier, then order).

    `revision` is the number of the revision that it is of (`revision_number`), 0 for none.
    """

    groups: Mapping[str, Group] = field(default_factory=dict)
    networks: Mapping[str, NetworkSet] = field(default_factory=dict)
    modes: Modes = Modes()
    rules: tuple[Rule, ...] = ()
    name: str = ""
    revision: int = field(default=0, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, as an empty file does: all is allowed, and no group known."""
        return not (self.groups or self.networks or self.rules) and self.modes == Modes()


def revision_number(digest: str) -> int:
    """Return the number of 32 bits that stands for a revision in a large community (RFC 8092)."""
    return int(digest[:8], 16)


def meaning_of(number: int, name: str) -> int | None:
    """Return what travels of a group beside its id, so that two PEs find out that they give one id
    to different groups. None for ids from 2^31 up: those are derived from the name themselves.
    """
    return digest_31(f"{number} {name}") if number < 2**31 else None


def derived_group_id(text: str) -> int:
    """Return an id for a group that was given none, from its name or selector: 2^31 .. 2^32-1.

    The same on every PE without anybody handing out numbers; the lower half is left to people.
    """
    digest = hashlib.sha256(text.encode()).digest()
    return 2**31 | int.from_bytes(digest[:4], "big")
