"""Keeps our nftables tables as they should be: loads differences, and sees when others meddle."""

from __future__ import annotations

from pe.netlink.ownership import TABLE
from pe.nft.model import Ruleset, TableId
from pe.nft.owner import RulesetOwner
from pe.nft.reader import CounterView

PART = "guards"
TABLES = tuple(TableId(family, TABLE) for family in ("inet", "arp", "netdev"))


class FilterManager:
    """The ruleset in force, as we believe it to be, and the means to find out."""

    def __init__(self, rulesets: RulesetOwner) -> None:
        self._rulesets = rulesets
        self._holder = rulesets.holder(PART, TABLES, self._on_drift)
        self._drifted = False

    def doubt(self) -> None:
        """Believe names only from here on: a device took the chains that were bound to it with
        it."""
        self._holder.doubt()

    def has_chain(self, family: str, chain: str) -> bool:
        """True if the chain is in force."""
        table = self._holder.loaded.get(TableId(family, TABLE))
        return table is not None and chain in table.chains

    async def bring(self, wanted: Ruleset, *, keep: bool = False) -> bool:
        """Make the kernel hold this, in one transaction; with ``keep``, beside what it holds that
        ``wanted`` does not speak of. True if something had to be loaded. Raises OSError; then all
        is as before."""
        return await self._holder.bring(wanted, keep=keep)

    async def drifted(self) -> bool:
        """True if another program changed our tables since the last call; cheap while it did
        not."""
        await self._holder.has_drifted()
        drifted, self._drifted = self._drifted, False
        return drifted

    def _on_drift(self) -> None:
        self._drifted = True

    def counters(self) -> list[CounterView]:
        """Every counter's figures now."""
        return self._rulesets.counters_apart(TABLES)

    def packets(self, family: str, counter: str) -> int | None:
        """One counter's packets now, None where it does not exist."""
        return self._rulesets.packets(TableId(family, TABLE), counter)

    async def clear(self) -> None:
        """Delete our tables. Raises OSError."""
        self._holder.doubt()
        await self._holder.bring({})
