"""Implement ``pe version``."""

from __future__ import annotations

from importlib.metadata import version as installed

import click

from pe.cli.help import LocalCommand


@click.command(cls=LocalCommand)
def version() -> None:
    """Print the version."""
    click.echo(f"Bulkhead {installed('bulkhead')}")
