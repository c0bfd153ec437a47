"""The guard of a core port. The core is trusted (RFC 4381 section 1), but for one thing: explicit
null labels are looked up in the global table as if they came from ``lo`` (T9)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from pe.filters.context import PORTS_AT_MOST, RenderContext
from pe.filters.parts import NamedChain, dropped
from pe.model.guards import Guard
from pe.nft.fields import MPLS_LABEL, PROTOCOL
from pe.nft.matches import equal
from pe.nft.model import Chain, Hook
from pe.nft.names import name
from pe.nft.statements import ACCEPT, goto

MPLS = 0x8847
EXPLICIT_NULLS = (0, 2)
"""The labels of RFC 3032 section 2.1, for IPv4 and for IPv6."""


def chains(scope: RenderContext) -> Iterator[NamedChain]:
    """The chains of every core port that is there and does not want explicit null."""
    for port in sorted(scope.desired.core_ports.values(), key=lambda port: port.name):
        if port.name not in scope.present or port.accept_explicit_null:
            continue
        if scope.on(Guard.EXPLICIT_NULL):
            yield from _port(port.name)


@lru_cache(PORTS_AT_MOST)
def _port(port: str) -> tuple[NamedChain, ...]:
    # Two chains: nft 1.0.6 cannot list a rule that compares both the protocol and the label.
    null = f"null_{name(port)}"
    mpls = (equal(PROTOCOL, MPLS), goto(null))
    nulls = ((equal(MPLS_LABEL, label), *dropped("lbl_07", port)) for label in EXPLICIT_NULLS)
    return (
        (f"core_{name(port)}", Chain((mpls,), Hook("ingress", -500, "accept", port))),
        (null, Chain((*nulls, (ACCEPT,)))),
    )
