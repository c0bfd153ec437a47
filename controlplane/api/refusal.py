"""How a service says no: admission writes it down first, then tells the caller."""

from __future__ import annotations

import grpc


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    """Ends a call with a status; ``text`` is for the person who called, ``trailer`` for programs
    (trailing metadata)."""

    def __init__(
        self, code: grpc.StatusCode, text: str, trailer: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        super().__init__(text)
        self.code, self.text, self.trailer = code, text, trailer


def invalid(text: str) -> Refusal:
    """The request makes no sense."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> Refusal:
    """What it names does not exist."""
    return Refusal(grpc.StatusCode.NOT_FOUND, text)


def denied(text: str) -> Refusal:
    """It is not for this caller."""
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, text)


def exhausted(text: str) -> Refusal:
    """The caller asks for too much."""
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
