"""Attached workloads with their generation, and the lines of their history."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.prefix import Prefix
from controlplane.model.workload import Workload

EndpointKey = tuple[str, Prefix]
"""VRF and prefix."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attached workload. `generation` grows with each change, `since` is Unix time.

    `moves` counts how often it came here from another PE; `configured`: it stands in pe.yaml.
    """

    workload: Workload
    generation: int
    since: float
    moves: int = 0
    configured: bool = False


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """One line of a workload's history. `change`: attached, detached, tagged or moved."""

    workload: str
    change: str
    before: str
    after: str
    who: str
    when: float


def tags_text(workload: Workload) -> str:
    """Return the tags in a line, sorted."""
    return " ".join(f"{key}={value}" for key, value in sorted(workload.tags.items()))


def summary(workload: Workload) -> str:
    """Return all of a workload in a line, for the history."""
    addresses = ",".join(map(str, workload.addresses))
    return f"vrf={workload.vrf} port={workload.port} addresses={addresses} {tags_text(workload)}"
