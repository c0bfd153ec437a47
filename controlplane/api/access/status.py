"""The status with which a service refuses a call; the audit log has it before the caller."""

from __future__ import annotations

import grpc


class StatusError(Exception):
    """Ends a call with a status; ``text`` is for the person who called, ``trailer`` for programs
    (trailing metadata)."""

    def __init__(
        self, code: grpc.StatusCode, text: str, trailer: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        super().__init__(text)
        self.code, self.text, self.trailer = code, text, trailer


def invalid(text: str) -> StatusError:
    """Return the refusal of an invalid request."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> StatusError:
    """Return the refusal of a request for something that does not exist."""
    return StatusError(grpc.StatusCode.NOT_FOUND, text)


def denied(text: str) -> StatusError:
    """Return the refusal of a caller that lacks the rights."""
    return StatusError(grpc.StatusCode.PERMISSION_DENIED, text)


def exhausted(text: str) -> StatusError:
    """Return the refusal of a caller that asks for too much."""
    return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
