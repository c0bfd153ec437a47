"""What the bench of microsegmentation found."""

from __future__ import annotations

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Packets a second through a PE in one configuration: one figure a round. ``flows``: few
    (a thousand connections, over and over), new (every packet opens one) or told (the same, and a
    process of the node receives a record of each). ``size``: elements of
    the policy's maps, or rules of a list. ``sent`` and ``arrived`` are packets of all rounds."""

    name: str
    flows: str
    rounds: tuple[float, ...]
    size: int = 0
    sent: int = 0
    arrived: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's tag changes, without a node around them: seconds until the kernel holds it.

    ``compiled`` is part of ``enforced``; ``by_program`` is the same change of addresses through
    the nft program, each right after one of ours."""

    workloads: int
    elements: int
    compiled: tuple[float, ...]
    enforced: tuple[float, ...]
    by_program: tuple[float, ...]


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table is deleted and made anew under traffic; seconds each time. ``by_program``:
    the same table from a file of the nft program's."""

    elements: int
    seconds: tuple[float, ...]
    by_program: tuple[float, ...]
    rate: float
    """Packets a second meanwhile: each opens a flow, every other one is forbidden."""
    sent: int
    lost: int
    admitted: int
    """Denied packets that came out."""


class TelemetryRun(msgspec.Struct, frozen=True, kw_only=True):
    """Records of new flows, at a rate asked for. ``sent`` by the packet generator, ``judged``
    by the kernel's counter; ``seen`` and ``lost`` by the node's book of flows."""

    rate: float
    seconds: float
    staged: bool
    sent: int
    judged: int
    seen: int
    lost: int
    cpu: float
    """Seconds of CPU that the reading process took."""


class FleetChange(msgspec.Struct, frozen=True, kw_only=True):
    """One tag changed by a call to one of two PEs; seconds from the call.

    ``answered``: the call returned. ``here`` and ``there``: from then on the PE that was called,
    and the other one, let through what the new tag allows and nothing that only the old one did,
    as probe packets show."""

    answered: float
    here: float
    there: float


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Two PEs with a BGP session; ``attach_seconds`` is what attaching all workloads took,
    ``learn_seconds`` when after that the other PE's kernel held all of them."""

    workloads: int
    elements: int
    """Of the maps in the other PE's kernel."""
    attach_seconds: float
    learn_seconds: float
    probe_seconds: float
    """Between two rounds of probes: nothing is known more exactly."""
    changes: tuple[FleetChange, ...] = ()


class SegmentRun(msgspec.Struct, frozen=True, kw_only=True):
    """One part or several; None where a part failed or was left out, and ``failure`` says what
    failed. ``pace``: what a fixed loop took before and after each part, in seconds."""

    paces: tuple[Pace, ...] = ()
    changes: Changes | None = None
    rebuild: Rebuild | None = None
    telemetry: tuple[TelemetryRun, ...] = ()
    fleet: Fleet | None = None
    pace: tuple[float, ...] = ()
    failure: str = ""

    def joined(self, other: SegmentRun) -> SegmentRun:
        """Both, where each has parts of its own."""
        return SegmentRun(
            paces=self.paces or other.paces,
            changes=self.changes or other.changes,
            rebuild=self.rebuild or other.rebuild,
            telemetry=self.telemetry or other.telemetry,
            fleet=self.fleet or other.fleet,
            pace=self.pace + other.pace,
            failure=self.failure + other.failure,
        )
