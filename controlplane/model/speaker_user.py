"""The user ids of the BGP processes: one for each VRF, so that none can touch another's.

Ids of one user may signal each other's processes and change their limits (kill(2), prlimit(2)). The
default range is one that systemd leaves unused (its page on users and groups).
"""

from __future__ import annotations

import hashlib

FIRST_UID = 1_879_048_192
UIDS = 1 << 28
"""How many: two of a thousand VRFs have the same id in one of 500 nodes."""


def speaker_uid(first: int, node: str, vrf: str) -> int:
    """Return the id for a VRF's BGP process ("" is the core's), the same at every start; 0 where
    ``first`` is 0: all run as ``speaker-user`` then.

    The node's name counts, since several nodes may run on one machine.
    """
    if not first:
        return 0
    digest = hashlib.sha256(f"{node}/{vrf}".encode()).digest()
    return first + int.from_bytes(digest[:4], "big") % UIDS
