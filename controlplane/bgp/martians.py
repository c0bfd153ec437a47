"""Prefixes that are nobody's (RFC 6890): this network, loopback, link-local, multicast, beyond."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.prefix import Prefix, mask, parse_prefix


class PrefixCover:
    """Tells quickly whether a prefix lies in one of a few."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._lengths: dict[int, set[tuple[int, bytes]]] = {}
        for prefix in prefixes:
            key = (len(prefix.packed), prefix.packed)
            self._lengths.setdefault(prefix.length, set()).add(key)

    def covers(self, prefix: Prefix) -> bool:
        """True if the prefix is one of them or lies inside one."""
        packed = prefix.packed
        size = len(packed)
        return any(
            length <= prefix.length and (size, mask(packed, length)) in known
            for length, known in self._lengths.items()
        )


MARTIANS = PrefixCover(
    parse_prefix(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/16",  # unspecified, loopback, mapped and compatible addresses; 64:ff9b::/96 is outside
        "fe80::/10",
        "ff00::/8",
    )
)
