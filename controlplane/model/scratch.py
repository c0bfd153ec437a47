"""VRFs of a selftest, beside the configured ones for as long as it runs: they carry no customer's
packets but its own. The configuration's own types, so that nothing about them is special."""

from __future__ import annotations

import msgspec

from controlplane.model.intent import VrfIntent
from controlplane.model.prefix import IPAddress, Prefix


class RemoteSite(msgspec.Struct, frozen=True):
    """A prefix of a scratch VRF that is behind the core: ``labels`` are pushed, outermost first,
    towards ``gateway`` on the scratch core port."""

    vrf: str
    prefix: Prefix
    gateway: IPAddress
    labels: tuple[int, ...]


class SelftestLayout(msgspec.Struct, frozen=True):
    """VRFs with their ports and neighbours, and one core port. Names must not be those of a
    configuration."""

    vrfs: tuple[VrfIntent, ...]
    core_port: str
    far_sites: tuple[RemoteSite, ...] = ()
