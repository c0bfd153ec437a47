"""A list of names in a sentence, cut where it becomes long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NAMED = 5
"""Names that an error lists where one does not exist."""


def those(what: str, names: Iterable[str]) -> str:
    """Return ``; VRFs: blue, red`` for the end of an error: the names that exist, sorted, the first
    of them; ``; there are no VRFs`` if there are none."""
    found = sorted(set(names))
    return f"; {what}: {name_list(found, NAMED)}" if found else f"; there are no {what}"


def name_list(names: Sequence[str], most: int) -> str:
    """Join the first ``most`` names by commas; end with how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
