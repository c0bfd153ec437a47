"""Connect the command line to a node, and explain why if the node does not answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    import grpc
    from bulkhead.client import Node

FAILED = 1
UNREACHABLE = 3
REFUSED = 4

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES = """\b
Exit codes: 0 success; 1 failure; 2 usage error; 3 the node does not answer;
4 permission denied."""


def node_options(command: F) -> F:
    """Add ``--socket`` and ``--json``, the options of every command that queries a node."""
    command = click.option(
        "--socket",
        "socket_path",
        envvar="BULKHEAD_SOCKET",
        default="/run/bulkhead/api.sock",
        show_default=True,
        metavar="PATH",
        help="The node's API socket ($BULKHEAD_SOCKET); {netns}: the namespace's name.",
    )(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def node_at(socket_path: str) -> Iterator[Node]:
    """Open a client; failed calls inside the block end the program with one clear line."""
    import grpc  # costs a quarter of a second, which `pe check` need not pay
    from bulkhead.client import connect

    try:
        with connect(socket_path, timeout=120.0) as node:
            yield node
    except grpc.RpcError as error:
        _explain(error, socket_path)


def _explain(error: grpc.RpcError, socket_path: str) -> NoReturn:
    import grpc
    from bulkhead.client import expand_socket

    code = error.code() if isinstance(error, grpc.Call) else None
    details = str(error.details()) if isinstance(error, grpc.Call) else str(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        fail(f"no node answers at {expand_socket(socket_path)}: is `pe run` running?", UNREACHABLE)
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        fail(details, REFUSED)
    fail(details, FAILED)


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End with an error."""
    click.echo(f"pe: {text}", err=True)
    sys.exit(code)
