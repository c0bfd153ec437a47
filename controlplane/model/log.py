"""How components write the journal."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str, str, dict[str, str | int]], None]
"""Level, event in snake_case, fields without secrets: one line in the journal."""
