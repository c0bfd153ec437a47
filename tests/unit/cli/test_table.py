"""Times and columns as routers print them."""

from __future__ import annotations

import pytest

from pe.cli.table import duration, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (751, "00:12:31"),
        (86399, "23:59:59"),
        (86400, "1d00h00m"),
        (604799, "6d23h59m"),
        (604800 * 5 + 86400 * 2 + 3600 * 3, "5w2d03h"),
    ],
)
def test_duration(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_columns_line_up() -> None:
    assert list(table(("Name", "N"), [("a", "10"), ("longer", "9")], right="N")) == [
        "Name     N",
        "a       10",
        "longer   9",
    ]
