"""Frames between the node and a compute worker: a length, then a job, a change, or a reply.

The node trusts no worker, which reads the documents of tenants: a reply is MessagePack of fixed
shapes. What the node sends is a pickle, for the worker alone.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any

import msgspec

LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Job:
    """One query: the name of its function, the caller, and what the function takes."""

    name: str
    identity: str
    vrfs: frozenset[str]
    arguments: tuple[Any, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The parts of an answer, encoded."""

    parts: tuple[bytes, ...]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A status that the caller gets; ``code`` is the name of a gRPC status code."""

    code: str
    text: str
    trailer: tuple[tuple[str, bytes], ...] = ()


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The job raised an exception that nothing expected; ``trace`` is for the journal."""

    trace: str


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """The job was ended because its caller went away."""


Reply = Done | Refused | Failed | Interrupted
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


def encode(value: object) -> bytes:
    """Return the frame of a job or a change, for the worker."""
    body = pickle.dumps(value, protocol=5)
    return LENGTH.pack(len(body)) + body


def encode_reply(reply: Reply) -> bytes:
    """Return the frame of a reply, for the node."""
    body = _encode(reply)
    return LENGTH.pack(len(body)) + body


def job_or_change(body: bytes) -> Any:
    """Return what the node sent."""
    return pickle.loads(body)  # noqa: S301 - the node itself wrote it


def reply(body: bytes) -> Reply:
    """Return the reply of a worker. Raises msgspec.MsgspecError where it is none."""
    decoded: Reply = _decode(body)
    return decoded
