"""What configurations and pictures are called in results and report."""

from __future__ import annotations

FEW, NEW, TOLD = "few", "new", "told"
PLAIN, TRACKED, AGAIN = "neither", "tracking, one rule", "tracking, one rule (again)"
POLICY, LISTED, BOTH = "policy", "list of rules", "two revisions"
PACES_PLOT, CHANGES_PLOT = "segment.svg", "segment_changes.svg"


def policy_name(size: int) -> str:
    """A policy of about so many elements."""
    return f"{POLICY}, {size:,}"


def listed_name(size: int) -> str:
    """A list of so many rules."""
    return f"{LISTED}, {size:,}"
