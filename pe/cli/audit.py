"""Implement ``pe audit``, which checks the audit log."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from controlplane.api.access.audit_chain import Anchor, verify
from pe.cli.connection import fail, listens, node_at, socket_option
from pe.cli.help import Group

LOG = Path("/var/lib/bulkhead/audit.log")
"""The audit log of a node whose configuration names no state-dir."""


@click.group(cls=Group)
def audit() -> None:
    """Check the audit log."""


@audit.command("verify")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--anchor", "text", default="", metavar="LINE:DIGEST",
    help="Fields of the last audit_anchor in the journal: detects lines cut off at the end.",
)  # fmt: skip
@socket_option
@click.pass_context
def verify_log(ctx: click.Context, file: Path | None, text: str, socket_path: str) -> None:
    """Check that no line of the audit log was changed, removed or inserted.

    Reads FILE and its rotated files on this machine; without FILE the log of the node at the
    socket, or /var/lib/bulkhead/audit.log if no node runs and no socket was named. Exits 0 only if
    there is a log and its chain is unbroken.
    """
    anchor = _anchor(text) if text else None
    if file is None:
        named = ctx.get_parameter_source("socket_path") is not ParameterSource.DEFAULT
        file = LOG if not named and not listens(socket_path) else _log_at(socket_path)
    try:
        last, broken = verify(file, anchor)
    except FileNotFoundError:
        fail(f"{file}: no such file; name the audit.log in the node's state-dir")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    if broken:
        fail(broken)
    click.echo(f"{file}: {last.number} lines, last {last.digest}")


def _log_at(socket_path: str) -> Path:
    """Return the audit log of the node at a socket; fails where it does not say."""
    with node_at(socket_path) as node:
        named = node.status().audit_log
    if not named:
        fail("the node does not name its audit log: name FILE, the audit.log in its state-dir")
    return Path(named)


def _anchor(text: str) -> Anchor:
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise click.BadParameter("write LINE:DIGEST as in the journal's audit_anchor")
    return Anchor(int(number), digest)
