"""Who calls: a certificate, or a user of this machine. Metadata says nothing that counts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from controlplane.api.access.certificate_names import CertificateName, kinds_of
from controlplane.model.intent import ApiGrant, ApiRole


@dataclass(frozen=True, slots=True)
class UnixPeer:
    """Credentials of the process at the other end of a Unix socket (SO_PEERCRED), and the person
    who logged in to run it, "" if unknown (``person_of``)."""

    pid: int
    uid: int
    gid: int
    person: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """An identity with its role (None: may do nothing) and the VRFs it is limited to; ``unpaced``
    callers may ask as fast as they like. ``person`` says who runs as that identity, where it is
    known; it grants nothing."""

    identity: str
    role: ApiRole | None
    vrfs: frozenset[str] = frozenset()
    unpaced: bool = False
    person: str = ""

    @property
    def signature(self) -> str:
        """Return identity and person, for the histories: ``uid:0 (loginuid 1000, sudo alice)``."""
        return f"{self.identity} ({self.person})" if self.person else self.identity

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
    return Caller(f"uid:{peer.uid}", role, unpaced=mine, person=peer.person)


def certified_caller(names: Sequence[CertificateName], grants: Iterable[ApiGrant]) -> Caller:
    """Return the grant of the first of a certificate's names that has one.

    A name counts only for an identity of its own type: a DNS name that is written like a URI has
    no grant. A certificate without a grant is an identity without a role.
    """
    granted = {grant.identity: grant for grant in grants}
    for kind, text in names:
        grant = granted.get(text)
        if grant is not None and kind in kinds_of(grant.identity):
            return Caller(text, grant.role, frozenset(grant.vrfs))
    return Caller(names[0][1] if names else "no name", None)
