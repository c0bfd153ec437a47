"""The whole ruleset of a node."""

from __future__ import annotations

from pe.render import core, edge, host, too_big
from pe.render.model import Ruleset, table
from pe.render.scope import Scope


def ruleset(scope: Scope) -> Ruleset:
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
