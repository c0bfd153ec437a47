"""A list of names in a sentence, cut where it becomes long."""

from __future__ import annotations

from collections.abc import Sequence


def name_list(names: Sequence[str], most: int) -> str:
    """Join the first ``most`` names by commas; end with how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
