"""The bits by which the node knows its own verdicts in marks, which any program may set. Pure.

A mark of a connection counts as a verdict only if it has the code of this boot, which differs in
many bits between allowed and denied. Neither a constant, nor bits that are set or cleared, nor a
packet's mark that is saved make one of the other. The code is no secret from root.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controlplane.model.verdict import EPOCH_MASK, OLDER_BIT

WHOLE = 0xFFFFFFFF
CODE_MASK = WHOLE & ~(OLDER_BIT | EPOCH_MASK)
"""Of the mark of a connection: the bits of the code."""
TURNED = 0xD00FF000
"""The bits of the code that differ between allowed and denied; the others are the boot's alone."""
_ALLOWED = 1 << 31
_NOT_OF_A_WORD = 1 << 27
"""No verdict has it (controlplane.model.verdict): a packet's mark that is saved is no code."""
_SET, _CLEARED = _ALLOWED | _NOT_OF_A_WORD, 1 << 30 | 1 << 26
"""Of an allowed connection; so in ``TURNED`` there are bits of both kinds."""
_PASSED_SET, _PASSED_CLEARED = 1 << 31 | 1 << 25, 1 << 27 | 1 << 26
"""Of a packet: not the guards' bits (pe.filters.core), and a bit that no verdict has."""


@dataclass(frozen=True, slots=True)
class MarkCode:
    """The code of one boot. ``allowed`` and ``denied``: the bits ``CODE_MASK`` of the mark of a
    connection. ``passed``: the whole mark of a packet without a connection that a policy let
    through. ``log``: what the prefix of an entry in the packet log begins with."""

    allowed: int
    denied: int
    passed: int
    log: str

    @classmethod
    def of(cls, boot: str) -> MarkCode:
        """Return the code of the boot with this id; the same for each start of the node."""
        digest = hashlib.sha256(f"bulkhead marks {boot}".encode()).digest()
        first, second = (int.from_bytes(digest[at : at + 4], "big") for at in (0, 4))
        allowed = (first & CODE_MASK & ~_CLEARED) | _SET
        passed = (second & WHOLE & ~_PASSED_CLEARED) | _PASSED_SET
        return cls(allowed, allowed ^ TURNED, passed, f"bulkhead-{digest[8:10].hex()}-")

    @property
    def common(self) -> tuple[int, int]:
        """The value and the mask that allowed and denied connections share."""
        mask = CODE_MASK & ~TURNED
        return self.allowed & mask, mask


ANY_BOOT = MarkCode.of("")
"""For what is rendered and not loaded."""
