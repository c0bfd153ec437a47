"""Implement ``pe selftest``, which runs the packet-filter self-test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pe.cli.connection import FAILED, node_at, node_options
from pe.cli.help import Command
from pe.cli.plain import as_object
from pe.cli.table import show, table

if TYPE_CHECKING:
    from bulkhead.v1 import selftest_pb2

WORDS = {1: "held", 2: "NOT HELD", 3: "UNPROVEN", 4: "not tested"}


@click.command(cls=Command)
@node_options
def selftest(socket_path: str, as_json: bool) -> None:
    """Run the packet-filter self-test.

    Sends an attacker's packets through ports and VRFs that it creates for this; customers'
    traffic is not affected. Exits 0 if every guard held, 1 if one did not.
    """
    with node_at(socket_path) as node:
        report = node.selftest()
    click.echo(as_object(report)) if as_json else show(_lines(report))
    if not report.passed:
        sys.exit(FAILED)


def _lines(report: selftest_pb2.RunSelftestResponse) -> Iterator[str]:
    took = report.ended_unix - report.began_unix
    yield f"Selftest of {report.node}, Bulkhead {report.version} on {report.kernel}"
    began = datetime.fromtimestamp(int(report.began_unix), UTC)
    yield f"began {began:%Y-%m-%d %H:%M:%S} UTC, took {took:.1f} s"
    yield f"configuration {report.config_file}, sha256 {report.config_digest}"
    yield ""
    yield from table(
        ("Requirement", "Sent", "IP", "Verdict", "Counter", "Before", "After", "Evidence"),
        [
            (
                trial.requirement,
                trial.sent or "-",
                f"v{trial.family}" if trial.family else "-",
                WORDS.get(trial.verdict, "?"),
                trial.counter or "-",
                str(trial.packets_before) if trial.counter else "-",
                str(trial.packets_after) if trial.counter else "-",
                trial.evidence,
            )
            for trial in report.trials
        ],
        right="Before,After",
    )
    yield ""
    yield f"{report.held} held, {report.not_held} not held, {report.unproven} unproven"
    untested = [t.requirement for t in report.trials if t.verdict == 4]
    yield f"not tested: {' '.join(untested)}"
    yield "all that was tried held" if report.passed else "NOT ALL OF IT HELD"
