"""``pe run``: one PE, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from pe.cli.connection import fail
from pe.config import ConfigErrors, load_config


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("pe.yaml"))
@click.option("--log-format", type=click.Choice(["logfmt", "json"]), default="logfmt",
              show_default=True, help="How log lines on standard error look.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="Instead of the configuration's log-level.")  # fmt: skip
def run(file: Path, log_format: str, log_level: str | None) -> None:
    """Run a PE.

    Until SIGTERM; SIGHUP reads the configuration again. The kernel goes on forwarding and
    filtering when the process ends.
    """
    try:
        intent = load_config(file)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        fail(f"{file} is not run; `pe check` shows these errors too")
    from pe import journal, node

    log = journal.start(level=log_level or intent.log_level, form=log_format)
    try:
        node.run(intent, file, log)
    except OSError as error:
        fail(str(error))
    finally:
        log.close()
