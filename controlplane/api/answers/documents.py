"""Read policy documents that callers send, and say what is wrong with them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.details import problem_message
from controlplane.api.access.status import exhausted
from controlplane.policy.insight.lint import warnings
from controlplane.policy.insight.lockout import lockouts
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.language.document import Document, parse_document
from controlplane.policy.language.problem import Problem

LONGEST = 1 << 20
"""Bytes. As much as ten thousand rules with their comments."""
_MOST_KEPT = 4
_read: OrderedDict[bytes, Document] = OrderedDict()
"""A document is checked, compared and staged one after the other: read once."""


def read_document(text: str) -> Document:
    """Return a document, read. Raises PolicyError, and StatusError where it is too long."""
    raw = text.encode()
    if len(raw) > LONGEST:
        raise exhausted(f"a document has at most {LONGEST >> 10} KiB")
    name = hashlib.sha256(raw).digest()
    document = _read.get(name)
    if document is None:
        document = _read[name] = parse_document(text)
        if len(_read) > _MOST_KEPT:
            _read.popitem(last=False)
    return document


def empty_warning() -> Problem:
    """Return the warning on a document that says nothing."""
    return Problem("", "is empty and allows everything", "staging it needs --allow-empty", 1)


def warnings_of(view: View, document: Document) -> list[pb.PolicyProblem]:
    """Return what a policy says validly but hardly on purpose; for callers that see the whole
    node."""
    if document.is_empty:
        return [problem_message(empty_warning())]
    found = warnings(view.queries.compiled(document.policy), view.inventory)
    return [problem_message(problem) for problem in placed(found, document)]


def lockouts_of(replica: Replica, view: View, document: Document) -> list[Problem]:
    """Return the routing sessions in the view's VRFs that a policy denies."""
    found = lockouts(document.policy, view.inventory, replica.sessions)
    return list(placed(found, document))


def placed(problems: Iterable[Problem], document: Document) -> Iterator[Problem]:
    """Give problems their lines; a revision of the store has none."""
    for problem in problems:
        yield replace(problem, line=document.lines.get(problem.path, 0))
