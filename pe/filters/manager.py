"""Keeps our nftables tables as they should be: loads differences, and sees when others meddle."""

from __future__ import annotations

from pe.nft import text_loader as nft
from pe.nft.generations import RulesetGenerations, following
from pe.nft.text_diff import UNKNOWN, recreation, transaction, union
from pe.nft.text_model import Chain, NamedSet, Ruleset, Table

PART = "guards"


class FilterManager:
    """The ruleset in force, as we believe it to be, and the means to find out.

    While rules are loaded it is our turn in ``generations``: what else changes meanwhile was
    changed by strangers.
    """

    def __init__(self, reader: nft.NftReader, generations: RulesetGenerations) -> None:
        self._reader, self._generations = reader, generations
        self.loaded: Ruleset = {}
        self._fingerprint = ""
        self._doubted = True
        self._contested = False

    def doubt(self) -> None:
        """Believe names only from here on: as at start, when a former run may have left its
        tables, or when a device took the chains that were bound to it with it."""
        self._doubted = True

    def has_chain(self, family: str, chain: str) -> bool:
        """True if the chain is in force."""
        return family in self.loaded and chain in self.loaded[family].chains

    async def bring(self, wanted: Ruleset, *, keep: bool = False) -> bool:
        """Make the kernel hold this, in one transaction; with ``keep``, beside what it holds that
        ``wanted`` does not speak of. True if something had to be loaded. Raises OSError; then all
        is as before."""
        if self._doubted:
            self._believe_names(wanted)
        whole = union(self.loaded, wanted) if keep else wanted
        if not self._doubted and self.loaded == whole:
            return False
        self._doubted = False  # what is doubted from here on stays so
        try:
            try:
                await self._load(transaction(self.loaded, whole))
            except OSError:
                # What is there may not be what we took it for. Our tables are deleted and made anew
                # in one transaction: the guards are never away, only the counters start again.
                whole = wanted
                await self._load(recreation(wanted))
        except BaseException:
            self._doubted = True
            raise
        self.loaded = dict(whole)
        return True

    async def _load(self, text: str) -> None:
        """One transaction, and what the kernel makes of it: unless others changed the ruleset in
        that moment too, who would else be taken for us."""
        async with self._generations.turn:
            before = self._reader.generation()
            await nft.load(text)
            self._fingerprint = self._reader.fingerprint()
            self._contested = self._reader.generation() != following(before)
            if not self._contested:
                self._generations.changed(PART, before)

    def _believe_names(self, wanted: Ruleset) -> None:
        """What is loaded is what the kernel has names of, with contents that nobody knows."""
        self.loaded = {
            family: _unknown(family, names, wanted.get(family, Table(family)))
            for family in nft.FAMILIES
            if (names := self._reader.names(family))
        }

    def drifted(self) -> bool:
        """True if somebody changed our tables, or may have in the moment of our last load. One
        small request while nobody changed any."""
        generation = self._reader.generation()
        if self._contested:
            self._contested, self._doubted = False, True
            return True
        if self._doubted or self._generations.is_known(PART, generation):
            return False
        if self._reader.fingerprint() == self._fingerprint:
            self._generations.know(PART, generation)
            return False
        self._doubted = True
        return True

    def counters(self) -> list[nft.CounterView]:
        """Every counter's figures now."""
        return self._reader.counters()

    def packets(self, family: str, counter: str) -> int | None:
        """One counter's packets now, None where it does not exist."""
        return self._reader.packets(family, counter)

    async def clear(self) -> None:
        """Delete our tables. Raises OSError."""
        self._believe_names({})
        if self.loaded:
            await self._load(transaction(self.loaded, {}))
        self.loaded = {}


def _unknown(family: str, names: nft.Names, wanted: Table) -> Table:
    return Table(
        family,
        {n: Chain(n, (UNKNOWN,), _hook(family, names, wanted, n)) for n in names.chains},
        {n: _unknown_set(n, wanted) for n in names.sets if not n.startswith("__")},
        names.counters,
    )


def _hook(family: str, names: nft.Names, wanted: Table, chain: str) -> str:
    """The hook that a chain of this name is taken to have. A chain of a device keeps its name when
    the device goes, and has no hook any more, even if a device of that name is back: make it anew.
    """
    if family == "netdev" and chain not in names.bound:
        return ""
    return wanted.chains[chain].hook if chain in wanted.chains else ""


def _unknown_set(set_name: str, wanted: Table) -> NamedSet:
    same = wanted.sets.get(set_name)
    declaration = same.declaration if same else ""
    is_map = same.is_map if same else False
    return NamedSet(set_name, declaration, frozenset({UNKNOWN}), is_map=is_map)
