"""Read policy documents that callers send, and say what is wrong with them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.details import problem_message
from controlplane.api.access.status import exhausted
from controlplane.policy.insight.lint import warnings
from controlplane.policy.insight.lockout import lockouts
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import Problem

LONGEST = 1 << 20
"""Bytes. As much as ten thousand rules with their comments."""
_MOST_KEPT = 4
_read: OrderedDict[bytes, Policy] = OrderedDict()
"""A document is checked, compared and staged one after the other: read once."""


def read_document(text: str) -> Policy:
    """Return the policy of a document. Raises PolicyError, and StatusError where it is too long."""
    raw = text.encode()
    if len(raw) > LONGEST:
        raise exhausted(f"a document has at most {LONGEST >> 10} KiB")
    name = hashlib.sha256(raw).digest()
    policy = _read.get(name)
    if policy is None:
        policy = _read[name] = parse_policy(text)
        if len(_read) > _MOST_KEPT:
            _read.popitem(last=False)
    return policy


def warnings_of(view: View, policy: Policy) -> list[pb.PolicyProblem]:
    """Return what a policy says validly but hardly on purpose; for callers that see the whole
    node."""
    compiled = view.queries.compiled(policy)
    return [problem_message(problem) for problem in warnings(compiled, view.inventory)]


def lockouts_of(replica: Replica, view: View, policy: Policy) -> list[Problem]:
    """Return the routing sessions in the view's VRFs that a policy denies."""
    return list(lockouts(policy, view.inventory, replica.sessions))
