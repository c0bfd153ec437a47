"""Add ``--since`` and ``--until``, a span of time in UTC, to a command."""

from __future__ import annotations

from datetime import datetime

import click

from pe.cli.connection import F

_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")

EXAMPLES = '2026-11-27 or "2026-11-27 09:30"'
"""What a person writes; seconds and a T between day and time are read as well."""


def _moment(ctx: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    """Read an option's value. Raises BadParameter with examples."""
    if text is None:
        return None
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    wrong = f"{text!r} is no time: write a day or a time in UTC: {EXAMPLES}"
    raise click.BadParameter(wrong, ctx, option)


def span_options(command: F) -> F:
    """Add the options; the command gets ``since`` and ``until``, datetimes in UTC without a zone,
    or None."""
    until = click.option(
        "--until", callback=_moment, metavar="TIME", help="End, UTC, like --since (default: now)."
    )
    since = click.option(
        "--since", callback=_moment, metavar="TIME",
        help=f"Start, UTC: {EXAMPLES} (default: all that the node has).",
    )  # fmt: skip
    return since(until(command))
