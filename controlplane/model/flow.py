"""Flows as the kernel reports them: new ones from nflog, established ones from conntrack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from controlplane.model.prefix import IPAddress


class FlowRecord(msgspec.Struct, frozen=True):
    """A new flow and its verdicts. ``at`` is Unix time in seconds; ``icmp_type`` is -1 and ports
    are 0 where the protocol has none. ``enforced`` and ``staged`` are ``Verdict.word``;
    ``staged`` is None where nothing is staged.
    """

    at: float
    vrf: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    sport: int
    dport: int
    icmp_type: int
    enforced: int
    staged: int | None
    older: bool = False
    """The packet is part of an older flow: it opened nothing. Its direction may be unknown."""


class LiveFlow(msgspec.Struct, frozen=True):
    """An established flow: an entry of connection tracking in a VRF's zone."""

    vrf: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    sport: int
    dport: int
    icmp_type: int
    packets: int
    bytes: int
    older: bool = False
    """It was not seen from its beginning: which end opened it is not known."""


OnFlows = Callable[[Sequence[FlowRecord], int], None]
"""New flows, and how many records were lost since the last call (exactly counted)."""
