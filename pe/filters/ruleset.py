"""The whole ruleset of a node."""

from __future__ import annotations

from pe.filters import core, edge, host, too_big
from pe.filters.context import RenderContext
from pe.nft.text_model import Ruleset, table


def ruleset(scope: RenderContext) -> Ruleset:
    """Our tables, by family. A name that nft cannot hold raises ValueError."""
    arp_chains, arp_sets = host.arp(scope)
    return {
        "netdev": table("netdev", [*edge.chains(scope), *core.chains(scope)], edge.sets(scope)),
        "inet": table(
            "inet",
            [*too_big.chains(scope), *host.chains(scope)],
            [*too_big.sets(scope), *host.sets(scope)],
        ),
        "arp": table("arp", arp_chains, arp_sets),
    }
