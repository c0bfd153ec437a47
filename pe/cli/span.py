"""Add ``--since`` and ``--until``, a span of time in UTC, to a command."""

from __future__ import annotations

import click

from pe.cli.connection import F

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])


def span_options(command: F) -> F:
    """Add the options; the command gets ``since`` and ``until``, datetimes in UTC without a zone,
    or None."""
    until = click.option("--until", type=_MOMENT, help="End, UTC (default: now).")
    since = click.option(
        "--since", type=_MOMENT, help="Start, UTC (default: all that the node has)."
    )
    return since(until(command))
