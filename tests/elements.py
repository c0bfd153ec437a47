"""Read the elements of several sets of nftables."""

from __future__ import annotations

from collections.abc import Mapping

from pe.netlink.codec import DUMPS
from pe.nft.model import NamedSet, TableId
from pe.nft.reader import RulesetReader


def elements_of(
    reader: RulesetReader, table: TableId, sets: Mapping[str, NamedSet]
) -> dict[str, dict[bytes, bytes]]:
    """Return all elements of these sets but the dynamic ones."""
    return {n: _of(reader, table, n, kind) for n, kind in sets.items() if not kind.is_dynamic}


def _of(reader: RulesetReader, table: TableId, name: str, kind: NamedSet) -> dict[bytes, bytes]:
    for _ in range(DUMPS):
        if found := reader.elements_at(table, name, kind):
            return found[1]
    raise AssertionError(f"{name} changed each time it was read")
