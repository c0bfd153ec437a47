"""Format aligned columns, and times as routers print them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click


def duration(seconds: int) -> str:
    """Return ``00:12:31`` up to a day, then ``1d01h01m``, then ``5w2d03h``."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days == 0:
        return f"{hour:02}:{minute:02}:{second:02}"
    if days < 7:
        return f"{days}d{hour:02}h{minute:02}m"
    return f"{days // 7}w{days % 7}d{hour:02}h"


def count(number: int) -> str:
    """Return a number, "-" for none."""
    return str(number) if number else "-"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> Iterator[str]:
    """Return the lines of a table. Columns in ``right`` (comma-separated) are right-aligned."""
    listed = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *listed]) for i in range(len(heads))]
    to_right = {heads.index(name) for name in right.split(",") if name}
    for row in [heads, *listed]:
        cells = [
            cell.rjust(width) if i in to_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def show(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)
