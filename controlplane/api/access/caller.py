"""Who calls: a certificate, or a user of this machine. Metadata says nothing that counts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from controlplane.model.intent import ApiGrant, ApiRole


@dataclass(frozen=True, slots=True)
class UnixPeer:
    """Credentials of the process at the other end of a Unix socket (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Caller:
    """An identity with its role (None: may do nothing) and the VRFs it is limited to; ``unpaced``
    callers may ask as fast as they like."""

    identity: str
    role: ApiRole | None
    vrfs: frozenset[str] = frozenset()
    unpaced: bool = False

    def may_see(self, vrf: str) -> bool:
        """Return True if rows of this VRF ("" is the core) are for this caller."""
        return not self.vrfs or vrf in self.vrfs


CALLER: ContextVar[Caller] = ContextVar("bulkhead_api_caller")
"""The caller of the RPC that the current task serves."""


def local_caller(peer: UnixPeer) -> Caller:
    """Root and our own user are admins, and could do worse to the node than to call it often;
    every other user whom the socket's mode lets in is a viewer."""
    mine = peer.uid in (0, os.geteuid())
    role = ApiRole.ADMIN if mine else ApiRole.VIEWER
    return Caller(f"uid:{peer.uid}", role, unpaced=mine)


def certified_caller(auth: Mapping[str, Iterable[bytes]], grants: Iterable[ApiGrant]) -> Caller:
    """Return the grant of a certificate: its alternative names first, the common name last.

    ``auth`` is gRPC's AuthContext, which only the TLS handshake writes. A certificate without a
    grant is an identity without a role.
    """
    names = [_text(name) for name in auth.get("x509_subject_alternative_name", ())]
    common = [_text(name) for name in auth.get("x509_common_name", ())]
    granted = {grant.identity: grant for grant in grants}
    # The common name is for certificates that have no other: RFC 6125 section 6.4.4.
    for name in names or common:
        if grant := granted.get(name):
            return Caller(name, grant.role, frozenset(grant.vrfs))
    return Caller((names or common or ["no name"])[0], None)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
