"""Which field of a request is wrong, in the form that gRPC clients of every language read.

A `google.rpc.Status` in the trailing metadata, as the gRPC richer error model has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import grpc
from bulkhead.v1 import policy_pb2 as pb
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from controlplane.api.access.status import StatusError
from controlplane.policy.endpoints.placement import RefusedError, Why
from controlplane.policy.language.problem import Problem

KEY = "grpc-status-details-bin"
MOST = 20
"""Faults listed in a trailer, which clients limit to 8 KiB; the text says how many there are."""
_LONGEST = 1500

_CODES = {
    Why.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Why.UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Why.TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Why.NOT_SO: grpc.StatusCode.FAILED_PRECONDITION,
    Why.OVERTAKEN: grpc.StatusCode.ABORTED,
    Why.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def refusal(error: RefusedError) -> StatusError:
    """Return the answer to a change of workloads that was refused."""
    faults = [(fault.field, fault.text) for fault in error.faults]
    return field_refusal(_CODES[error.why], faults)


def field_refusal(code: grpc.StatusCode, faults: Iterable[tuple[str, str]]) -> StatusError:
    """Return a refusal with the fields that are to blame."""
    listed = list(faults)
    text = fitting([f"{field}: {what}" for field, what in listed], "faults", _LONGEST)
    return StatusError(code, text, _trailer(code, text, [_bad_request(listed)]))


def policy_refusal(
    problems: Iterable[Problem], code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
) -> StatusError:
    """Return a refusal of a document."""
    listed = list(problems)
    text = fitting([str(problem) for problem in listed], "faults", _LONGEST)
    bad = _bad_request([(problem.path, problem.message) for problem in listed])
    whole = pb.PolicyProblems(problems=map(problem_message, listed[:MOST]))
    return StatusError(code, text, _trailer(code, text, [bad, whole]))


def problem_message(problem: Problem) -> pb.PolicyProblem:
    """Return one fault of a document."""
    return pb.PolicyProblem(
        path=problem.path, line=problem.line, problem=problem.message, cure=problem.cure
    )


def _bad_request(faults: list[tuple[str, str]]) -> Message:
    bad = error_details_pb2.BadRequest()
    for field, what in faults[:MOST]:
        bad.field_violations.add(field=field, description=what[:200])
    found: Message = bad
    return found


def _trailer(
    code: grpc.StatusCode, text: str, details: list[Message]
) -> tuple[tuple[str, bytes], ...]:
    status = status_pb2.Status(code=code.value[0], message=text[:200])
    for message in details:
        packed = Packed()
        packed.Pack(message)
        status.details.append(packed)
    return ((KEY, status.SerializeToString()),)


def fitting(lines: Sequence[str], what: str, most: int) -> str:
    """Return as many whole lines as ``most`` octets hold, and how many there are in all."""
    taken, room = [], most
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            taken.append(f"... {len(lines)} {what} in all")
            break
        taken.append(line)
    return "\n".join(taken)
