"""Implement ``pe check``, which validates a configuration and changes nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from pe.cli.check_live import lacking_here, missing, unasked
from pe.cli.connection import FAILED, fail
from pe.cli.help import LocalCommand
from pe.config import ConfigError, ConfigErrors, read_config


@click.command(cls=LocalCommand)
@click.argument("file", type=click.Path(path_type=Path), default=Path("pe.yaml"))
@click.option("--live", is_flag=True, help="Ask this machine: its kernel, devices, addresses.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, live: bool, as_json: bool) -> None:
    """Check a configuration file.

    Exits 0 if the file is valid; else prints every error and exits 1. Reads only the file and
    the key files that it names. With --live asks this machine too: exits 1 if its kernel lacks
    what a node needs, and warns of devices and addresses that are not there.
    """
    try:
        configuration = read_config(file)
    except ConfigErrors as errors:
        _report(errors.errors, (), as_json)
        if not as_json:
            fail(f"{file} has {_number(len(errors.errors), 'error')}")
        sys.exit(FAILED)
    warnings, lacking = list(configuration.warnings), list[ConfigError]()
    if live:
        lacking = [_note(file, text) for text in lacking_here()]
        warnings += [_note(file, text) for text in (*unasked(), *missing(configuration.intent))]
    _report(tuple(lacking), tuple(warnings), as_json)
    if lacking:
        if not as_json:
            fail("`pe run` would not start on this kernel")
        sys.exit(FAILED)
    if not as_json:
        intent = configuration.intent
        sessions = _number(len(intent.all_peers), "BGP session")
        click.echo(f"{file} is good: {_number(len(intent.vrfs), 'VRF')}, {sessions}")


def _note(file: Path, text: str) -> ConfigError:
    place, _, problem = text.partition(": ")
    return ConfigError(str(file), 0, 0, place, problem, "")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _report(
    errors: tuple[ConfigError, ...], warnings: tuple[ConfigError, ...], as_json: bool
) -> None:
    if as_json:
        found = {"errors": [asdict(e) for e in errors], "warnings": [asdict(w) for w in warnings]}
        click.echo(json.dumps(found, indent=1))
        return
    for error in errors:
        click.echo(str(error), err=True)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
