"""Implement ``pe audit``, which checks the audit log."""

from __future__ import annotations

from pathlib import Path

import click

from controlplane.api.access.audit_chain import Anchor, verify
from pe.cli.connection import fail
from pe.cli.help import Group


@click.group(cls=Group)
def audit() -> None:
    """Check the audit log."""


@audit.command("verify")
@click.argument(
    "file", type=click.Path(path_type=Path), default=Path("/var/lib/bulkhead/audit.log")
)
@click.option(
    "--anchor", "text", default="", metavar="LINE:DIGEST",
    help="Fields of the last audit_anchor in the journal: detects lines cut off at the end.",
)  # fmt: skip
def verify_log(file: Path, text: str) -> None:
    """Check that no line of the audit log was changed, removed or inserted.

    Reads FILE (default: /var/lib/bulkhead/audit.log) and its rotated files on this machine. Exits
    0 only if there is a log and its chain is unbroken.
    """
    anchor = _anchor(text) if text else None
    try:
        last, broken = verify(file, anchor)
    except FileNotFoundError:
        fail(f"{file}: no such file; name the audit.log in the node's state-dir")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    if broken:
        fail(broken)
    click.echo(f"{file}: {last.number} lines, last {last.digest}")


def _anchor(text: str) -> Anchor:
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise click.BadParameter("write LINE:DIGEST as in the journal's audit_anchor")
    return Anchor(int(number), digest)
