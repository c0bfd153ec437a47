"""Implement ``pe run``, which runs one PE in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from controlplane.model.intent import NodeIntent
from pe.cli import kernel_support
from pe.cli.connection import fail
from pe.cli.help import LocalCommand
from pe.config import ConfigErrors, load_config
from pe.process import privileges
from pe.process.journal import Journal, start


@click.command(cls=LocalCommand)
@click.argument("file", type=click.Path(path_type=Path), default=Path("pe.yaml"))
@click.option("--log-format", type=click.Choice(["logfmt", "json"]), default="logfmt",
              show_default=True, help="Format of log lines on standard error.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="Log level, instead of the configuration's.")  # fmt: skip
@click.option("--without-guard", "disabled", multiple=True, metavar="NAME", hidden=True,
              help="Switch a guard off: the positive control of an attack test.")  # fmt: skip
def run(file: Path, log_format: str, log_level: str | None, disabled: tuple[str, ...]) -> None:
    """Run the router in the foreground.

    SIGHUP reloads the configuration, SIGTERM ends the process. The kernel goes on forwarding and
    filtering when the process ends.
    """
    _give_up_privileges()
    try:
        intent = load_config(file)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        fail(f"{file} is not run; `pe check` shows these errors too")
    _refuse_kernel()
    _run(intent, file, start(log_level or intent.log_level, log_format), frozenset(disabled))


def _give_up_privileges() -> None:
    """Drop privileges before the first thread starts and before any untrusted input is read."""
    try:
        privileges.drop()
    except OSError as error:
        fail(f"privileges cannot be given up: {error.strerror}")


def _refuse_kernel() -> None:
    """End where the kernel cannot do what a node needs: it would be refused for ever."""
    try:
        lacking = [*kernel_support.missing()]
    except PermissionError:
        return  # the node says which of its own requests are refused
    except OSError as error:
        fail(f"the kernel cannot be asked what it can do: {error.strerror}")
    for need in lacking:
        click.echo(f"pe: {need}", err=True)
    if lacking:
        fail("the router is not started; `pe check --live` shows these errors too")


def _run(intent: NodeIntent, file: Path, journal: Journal, disabled: frozenset[str]) -> None:
    from pe import launch  # the whole node: a wrong file should not wait for it

    if disabled:
        journal.warning("guards_disabled", guards=sorted(disabled))
    try:
        launch.run(intent, file, journal, disabled)
    except (
        launch.AlreadyRunningError, launch.StoreError, launch.PartFailedError, OSError
    ) as error:  # fmt: skip
        fail(str(error))
    finally:
        journal.close()
