"""Implement ``pe policy check``, at a node or without one."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pe.cli.connection import FAILED, fail, node_at, node_options
from pe.cli.help import Command
from pe.cli.plain import as_object

if TYPE_CHECKING:
    from bulkhead.v1 import policy_pb2 as pb

    from controlplane.policy.language.document import Document
    from controlplane.policy.language.problem import Problem


@click.command(cls=Command)
@click.argument("document", type=click.File("r"))
@click.option("--offline", is_flag=True, help="Check without a node, as in CI.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="With --offline: compare with the VRFs and BGP sessions of this pe.yaml.",
)
@node_options
def check(
    document: Any, offline: bool, config: Path | None, socket_path: str, as_json: bool
) -> None:
    """Validate a policy document. Prints errors and warnings; exits 1 on errors.

    A node also warns of rules without effect and groups without members here. With --offline
    nothing is connected to, and no such warnings are given.
    """
    if config and not offline:
        fail("--config is read with --offline only: a node has its own configuration", 2)
    text = document.read()
    if offline:
        answer = _offline(text, config)
    else:
        with node_at(socket_path) as node:
            answer = node.segment.check(text)
    if as_json:
        click.echo(as_object(answer))
    else:
        print_problems(answer.problems, "error")
        print_problems(answer.warnings, "warning")
        if not answer.problems:
            click.echo(f"{document.name} is good: revision {answer.revision[:12]}")
    sys.exit(FAILED if answer.problems else 0)


def print_problems(problems: Iterable[pb.PolicyProblem], kind: str) -> None:
    """Print errors or warnings of a document on standard error, one a line."""
    for each in problems:
        line = f"line {each.line}: " if each.line else ""
        cure = f" ({each.cure})" if each.cure else ""
        path = f"{each.path}: " if each.path else ""
        click.echo(f"{kind}: {line}{path}{each.problem}{cure}", err=True)


def _offline(text: str, config: Path | None) -> pb.CheckPolicyResponse:
    """Return what a node that has this configuration, and no workloads, would answer."""
    from bulkhead.v1 import policy_pb2 as pb

    from controlplane.api.access.details import problem_message
    from controlplane.api.access.status import StatusError
    from controlplane.api.answers.documents import empty_warning, read_document
    from controlplane.policy.language.canonical import digest
    from controlplane.policy.language.problem import PolicyError

    try:
        document = read_document(text)
    except PolicyError as error:
        return pb.CheckPolicyResponse(problems=map(problem_message, error.problems))
    except StatusError as error:
        fail(error.text)
    problems, warnings = _compared(document, config) if config else ([], [])
    if document.is_empty:
        warnings = [empty_warning()]
    if problems:
        return pb.CheckPolicyResponse(problems=map(problem_message, problems))
    return pb.CheckPolicyResponse(
        warnings=map(problem_message, warnings), revision=digest(document.policy)
    )


def _compared(document: Document, config: Path) -> tuple[list[Problem], list[Problem]]:
    """Return the BGP sessions that a policy denies, and the VRFs that a pe.yaml has not."""
    from controlplane.api.answers.documents import placed
    from controlplane.model.workload import Inventory
    from controlplane.policy.insight.lint import unknown_vrfs
    from controlplane.policy.insight.lockout import lockouts, routing_sessions
    from pe.config import ConfigErrors, read_config

    try:
        intent = read_config(config).intent
    except ConfigErrors as errors:
        fail("\n".join(map(str, errors.errors)))
    here = frozenset(vrf.name for vrf in intent.vrfs)
    policy = document.policy
    denied = lockouts(policy, Inventory(here), routing_sessions(intent))
    unknown = unknown_vrfs(policy, here)
    return list(placed(denied, document)), list(placed(unknown, document))
