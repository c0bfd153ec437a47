"""Connect the command line to a node, and explain why if the node does not answer."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from pe.cli.typed_names import by_typed_names

if TYPE_CHECKING:
    import grpc
    from bulkhead.client import Node

FAILED = 1
UNREACHABLE = 3
REFUSED = 4

LONGEST_SECONDS = 120.0
"""How long a call may take."""

_NOT_CONNECTED = "failed to connect"
"""How gRPC's own texts begin where the other end has not spoken; the others are the node's."""

_NO_ANSWER = "Deadline Exceeded"
"""What the client itself says at its deadline; a node's own deadline has other words."""

F = TypeVar("F", bound=Callable[..., Any])


def socket_option(command: F) -> F:
    """Add ``--socket``, where the node is."""
    return click.option(
        "--socket",
        "socket_path",
        envvar="BULKHEAD_SOCKET",
        default="/run/bulkhead/api.sock",
        show_default=True,
        metavar="PATH",
        help="The node's API socket ($BULKHEAD_SOCKET); {netns}: the namespace's name.",
    )(command)


def node_options(command: F) -> F:
    """Add ``--socket`` and ``--json``, the options of every command that queries a node."""
    command = socket_option(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def node_at(socket_path: str) -> Iterator[Node]:
    """Open a client; failed calls inside the block end the program with one clear line."""
    import grpc  # costs a quarter of a second, which `pe check` need not pay
    from bulkhead.client import connect

    begin = time.monotonic()
    try:
        with connect(socket_path, timeout=LONGEST_SECONDS) as node:
            yield node
    except grpc.RpcError as error:
        _explain(error, socket_path, time.monotonic() - begin)


def _explain(error: grpc.RpcError, socket_path: str, seconds: float) -> NoReturn:
    import grpc
    from bulkhead.client import expand_socket

    code = error.code() if isinstance(error, grpc.Call) else None
    details = str(error.details()) if isinstance(error, grpc.Call) else str(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        path = expand_socket(socket_path)
        refusal = _refusal(path)
        if isinstance(refusal, PermissionError):
            fail(f"{path}: permission denied: be root, or in the socket's group", REFUSED)
        if refusal is not None:
            fail(f"no node answers at {path}: is `pe run` running?", UNREACHABLE)
        if details.startswith(_NOT_CONNECTED):
            details = (
                f"connected to {path}, but no answer in {seconds:.0f} s:"
                " the node is busy or stopped; see its journal"
            )
        fail(details, UNREACHABLE)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and details == _NO_ANSWER:
        fail(
            f"no answer in {seconds:.0f} s: what was asked for may still be done;"
            " see `pe show status` and the node's journal",
            UNREACHABLE,
        )
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        fail(details, REFUSED)
    fail(_as_typed(details, error), FAILED)


def _as_typed(details: str, error: grpc.RpcError) -> str:
    from bulkhead.segment import faults

    command = click.get_current_context(silent=True)
    if command is None:
        return details
    return by_typed_names(details, [field for field, _ in faults(error)], command.command)


def _refusal(path: str) -> OSError | None:
    """Return why a Unix socket cannot be connected to; None if a process listens there, whether or
    not it speaks."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its queue is full
            return None
        except OSError as error:
            return error
    return None


def listens(socket_path: str) -> bool:
    """Return True if a process listens at a node's socket."""
    from bulkhead.client import expand_socket

    return _refusal(expand_socket(socket_path)) is None


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End with an error."""
    click.echo(f"pe: {text}", err=True)
    sys.exit(code)
