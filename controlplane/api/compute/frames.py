"""Frames between the node and a compute worker: a length, then a pickle.

The node reads what an unprivileged process wrote: its unpickler makes values of the model, of the
policy room and of this protocol, and calls nothing else.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from typing import Any

LENGTH = struct.Struct("!I")
_ROOMS = ("controlplane.model.", "controlplane.policy.", __name__, "ipaddress")
_PLAIN = {
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("collections", "Counter"),
    ("collections", "OrderedDict"),
    ("collections", "deque"),
    ("msgspec._core", "rebuild"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One query: the name of its function, the caller, and what the function takes."""

    name: str
    identity: str
    vrfs: frozenset[str]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The parts of an answer, encoded."""

    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A status that the caller gets; ``code`` is the name of a gRPC status code."""

    code: str
    text: str
    trailer: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The job raised an exception that nothing expected; ``trace`` is for the journal."""

    trace: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The job was ended because its caller went away."""


Reply = Done | Refused | Failed | Interrupted


class UntrustedFrameError(Exception):
    """A frame names a class or function that frames do not hold."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN or (module.startswith(_ROOMS) and "." not in name):
            return super().find_class(module, name)
        raise UntrustedFrameError(f"{module}.{name}")


def encode(value: object) -> bytes:
    """Return a frame with its length in front."""
    body = dumps(value)
    return LENGTH.pack(len(body)) + body


def dumps(value: object) -> bytes:
    """Return the body of a frame."""
    return pickle.dumps(value, protocol=5)


def loads(body: bytes) -> Any:
    """Return the value of a body. Raises UntrustedFrameError and what unpickling raises."""
    return _Unpickler(io.BytesIO(body)).load()
