"""Names of chains, sets and counters, from names of ports and VRFs."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9._-]")


def name(text: str) -> str:
    """``text`` as part of an nft identifier: what it cannot hold becomes _xx, two hex digits."""
    return "".join(c if _PLAIN.match(c) else f"_{ord(c):02x}" for c in text)
