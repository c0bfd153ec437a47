"""Who had an address when a flow was seen. Addresses change hands, and tags change."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Endpoint, Workload


class Held(NamedTuple):
    """The endpoints that had an address, none where it was outside; `token` is equal for equal
    ones."""

    claimants: tuple[Endpoint, ...] = ()
    token: bytes = bytes(8)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the workloads here among them."""
        return frozenset(each.name for each in self.claimants if isinstance(each, Workload))


UNHELD = Held()
_TOKEN = struct.Struct("q")
FindHolders = Callable[[str, IPAddress], Held]
"""The endpoints that have an address in a VRF now."""


def unheld(vrf: str, address: IPAddress) -> Held:
    """Find no endpoint."""
    del vrf, address
    return UNHELD


def held_by(claimants: tuple[Endpoint, ...]) -> Held:
    """Return the endpoints with their token, in which tags and group ids count."""
    if not claimants:
        return UNHELD
    token = _TOKEN.pack(hash(tuple(map(_told, claimants))))
    return Held(tuple(map(_short, claimants)), token)


def _short(endpoint: Endpoint) -> Endpoint:
    """Leave out what a flow need not keep: compute workers are sent it with every flow."""
    if isinstance(endpoint, Workload):
        return Workload(endpoint.name, endpoint.vrf, "", (), endpoint.tags)
    return endpoint


def _told(endpoint: Endpoint) -> tuple[object, ...]:
    if isinstance(endpoint, Workload):
        return endpoint.name, frozenset(endpoint.tags.items())
    return endpoint.vrf, endpoint.prefix, endpoint.groups, endpoint.staged
