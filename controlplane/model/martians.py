"""Prefixes that no customer may announce, and no workload have (RFC 6890): loopback, link-local,
multicast and the like.

And prefixes that are not globally unique: private, shared and the like.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.prefix import Prefix, mask, parse_prefix


class PrefixCover:
    """Look up whether a prefix lies in one of a few."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._lengths: dict[int, set[tuple[int, bytes]]] = {}
        for prefix in prefixes:
            key = (len(prefix.packed), prefix.packed)
            self._lengths.setdefault(prefix.length, set()).add(key)

    def covers(self, prefix: Prefix) -> bool:
        """Return True if the prefix is one of them or lies inside one."""
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

NOT_UNIQUE = PrefixCover(
    parse_prefix(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation (RFC 5737), benchmarks (RFC 2544)
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",  # RFC 4193
        "fec0::/10",
    )
)


def is_unique(prefix: Prefix) -> bool:
    """Return True where a prefix means the same network all over the Internet; of a default route
    too."""
    return prefix.is_default or not (MARTIANS.covers(prefix) or NOT_UNIQUE.covers(prefix))
