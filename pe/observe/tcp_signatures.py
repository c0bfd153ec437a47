"""The kernel's counts of TCP segments that it dropped for their MD5 signature (RFC 2385).

They are one number each for the whole network namespace (/proc/net/netstat, ``TcpExt``): the
kernel does not count them by peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NETSTAT = Path("/proc/net/netstat")


@dataclass(frozen=True, slots=True)
class SignatureDrops:
    """``missing``: a key is configured and the segment had no signature; ``unexpected``: it had one
    and no key is configured; ``wrong``: the keys differ."""

    missing: int = 0
    unexpected: int = 0
    wrong: int = 0

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.missing + self.unexpected + self.wrong


def signature_drops(file: Path = NETSTAT) -> SignatureDrops:
    """Read the counts; zeroes where the kernel has none."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return SignatureDrops()
    found = dict(zip(*(line[1:] for line in lines if line[0] == "TcpExt:"), strict=False))
    missing, unexpected, wrong = (
        int(found.get(f"TCPMD5{name}", 0)) for name in ("NotFound", "Unexpected", "Failure")
    )
    return SignatureDrops(missing, unexpected, wrong)
