"""The guard of a core port. The core is trusted (RFC 4381 section 1), but for one thing: explicit
null labels are looked up in the global table as if they came from ``lo`` (T9). A VPN's packet
leaves into the core with a label only, even where the routing tables have other ways (ISO-15)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from pe.filters.context import PORTS_AT_MOST, RenderContext
from pe.filters.parts import LAST, NamedChain, dropped
from pe.model.guards import Guard
from pe.nft.fields import MARK, MPLS_LABEL, PROTOCOL
from pe.nft.matches import Masked, equal
from pe.nft.model import Chain, Hook
from pe.nft.names import name
from pe.nft.statements import ACCEPT, MarkBits, goto

MPLS = 0x8847
EXPLICIT_NULLS = (0, 2)
"""The labels of RFC 3032 section 2.1, for IPv4 and for IPv6."""


OF_A_VPN = 1 << 27
"""The bit of a packet's mark that says, from the stack to the core port, that a VPN's packet is
on its way there: the label is pushed in between, where no hook is."""
UNDER_A_LABEL = 1 << 26
"""The bit that says, from the core port to the stack, that a packet came under a label: in OUTPUT
it looks like one of the node's own otherwise."""


def chains(scope: RenderContext) -> Iterator[NamedChain]:
    """The chains of every core port that is there."""
    for port in sorted(scope.desired.core_ports.values(), key=lambda port: port.name):
        if port.name not in scope.present:
            continue
        takes_null = port.accept_explicit_null or not scope.on(Guard.EXPLICIT_NULL)
        yield from _ingress(port.name, takes_null=takes_null)
        if scope.on(Guard.WAYS_OUT):
            yield _egress(port.name)


@lru_cache(PORTS_AT_MOST)
def _egress(port: str) -> NamedChain:
    """With a label the bit has done its work, and the mark is again what it was: for tc, say."""
    labelled = equal(PROTOCOL, MPLS)
    rules = (
        (Masked(MARK, OF_A_VPN, "==", 0), ACCEPT),
        (labelled, MarkBits(OF_A_VPN, cleared=True), ACCEPT),
        dropped("iso_15", port),
    )
    return f"out_{name(port)}", Chain(rules, Hook("egress", 500, "accept", port))


@lru_cache(PORTS_AT_MOST)
def _ingress(port: str, *, takes_null: bool) -> tuple[NamedChain, ...]:
    # Two chains: nft 1.0.6 cannot list a rule that compares both the protocol and the label.
    null = f"null_{name(port)}"
    then = ACCEPT if takes_null else goto(null)
    mpls = (equal(PROTOCOL, MPLS), MarkBits(UNDER_A_LABEL), then)
    came = (f"core_{name(port)}", Chain((mpls,), Hook("ingress", LAST, "accept", port)))
    if takes_null:
        return (came,)
    nulls = ((equal(MPLS_LABEL, label), *dropped("lbl_07", port)) for label in EXPLICIT_NULLS)
    return came, (null, Chain((*nulls, (ACCEPT,))))
