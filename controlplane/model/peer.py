"""Who a BGP session is with; the same address may be a CE in many VRFs, so the VRF counts."""

from __future__ import annotations

import msgspec

from controlplane.model.prefix import IPAddress


class PeerId(msgspec.Struct, frozen=True, cache_hash=True):
    """``vrf`` is the VRF's name, or "" for a session in the core."""

    vrf: str
    address: IPAddress

    @property
    def is_core(self) -> bool:
        """True for sessions with PEs and route reflectors."""
        return not self.vrf

    def __str__(self) -> str:
        return f"{self.address}%{self.vrf}" if self.vrf else str(self.address)
