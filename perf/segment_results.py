"""What the bench of microsegmentation found."""

from __future__ import annotations

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Packets a second through the PE in one configuration: one figure a shot. ``flows``: few
    (a thousand connections, over and over) or new (every packet opens one). ``lost``: packets
    that did not come out."""

    name: str
    flows: str
    rounds: tuple[float, ...]
    lost: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's tag changes: seconds from the call until the kernel holds it, by step."""

    workloads: int
    elements: int
    compiled: tuple[float, ...]
    enforced: tuple[float, ...]
    by_program: tuple[float, ...]


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table is deleted and made anew under traffic; seconds each time."""

    elements: int
    seconds: tuple[float, ...]
    sent: int
    lost: int
    admitted: int
    """Denied packets that came out."""


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """New flows that were told, at a rate asked for."""

    rate: float
    seconds: float
    judged: int
    told: int
    lost: int
    cpu: float
    """Seconds of CPU that the reading process took."""


class SegmentRun(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; None where a part failed, and ``failure`` says why."""

    paces: tuple[Pace, ...] = ()
    changes: Changes | None = None
    rebuild: Rebuild | None = None
    telling: tuple[Telling, ...] = ()
    failure: str = ""
