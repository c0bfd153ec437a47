"""The whole ruleset of a node."""

from __future__ import annotations

from pe.filters import core, edge, host, host_sets, too_big
from pe.filters.context import RenderContext
from pe.filters.parts import table
from pe.netlink.ownership import TABLE
from pe.nft.model import Ruleset, TableId


def ruleset(scope: RenderContext) -> Ruleset:
    """Our tables, one a family. A name that nft cannot hold raises ValueError."""
    arp_chains, arp_sets = host.arp(scope)
    return {
        TableId("netdev", TABLE): table(
            [*edge.chains(scope), *core.chains(scope)], edge.sets(scope)
        ),
        TableId("inet", TABLE): table(
            [*too_big.chains(scope), *host.chains(scope)],
            [*too_big.sets(scope), *host_sets.sets(scope)],
        ),
        TableId("arp", TABLE): table(arp_chains, arp_sets),
    }
