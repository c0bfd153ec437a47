"""Answer about policies: what is wrong with a document, and what a revision would change."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import policy_refusal, problem_message
from controlplane.api.access.status import StatusError, invalid
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.documents import lockouts_of, read_document, warnings_of
from controlplane.api.answers.flows import observed_flows
from controlplane.policy.compile.identity import Membership
from controlplane.policy.insight.flowbook import FlowVerdict
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.insight.whatif import PairChange, what_if
from controlplane.policy.language.canonical import canonical_text, digest, to_document
from controlplane.policy.language.difference import Line, difference
from controlplane.policy.language.document import Document
from controlplane.policy.language.problem import PolicyError
from controlplane.policy.language.revision import UnreadableError

MOST_FLOW_CHANGES, MOST_PAIRS, MOST_PROBLEMS = 2_000, 2_000, 1_000


def check_policy(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield what is wrong with a document, and what is hardly meant."""
    view = _view(replica)
    try:
        document = read_document(pb.CheckPolicyRequest.FromString(request).document)
        problems = lockouts_of(replica, view, document)
    except PolicyError as error:
        problems = list(error.problems)
    if problems:
        shown = map(problem_message, problems[:MOST_PROBLEMS])
        yield pb.CheckPolicyResponse(problems=shown).SerializeToString()
        return
    # Warnings count over the whole node, so they are for callers that see all of it.
    found = warnings_of(view, document) if view.whole else []
    name = digest(document.policy)
    yield pb.CheckPolicyResponse(warnings=found, revision=name).SerializeToString()


def what_if_enforced(replica: Replica, request: bytes, revision: str) -> Iterator[bytes]:
    """Yield what would change if a document or a revision were enforced."""
    query, view = pb.WhatIfRequest.FromString(request), _view(replica)
    document = _wanted(replica, query, revision)
    answer = what_if(
        view.queries.compiled(view.queries.policy),
        view.queries.compiled(document.policy),
        observed_flows(replica, view, query.baseline),
        MOST_PAIRS,
    )
    yield pb.WhatIfResponse(
        flows=[
            pb.FlowChange(
                flow=messages.observed(each.flow, view.queries),
                before=messages.ruling(FlowVerdict(*each.before)),
                after=messages.ruling(FlowVerdict(*each.after)),
            )
            for each in (*answer.broken, *answer.opened)[:MOST_FLOW_CHANGES]
        ],
        pairs=map(_pair, answer.pairs),
        narrows=answer.narrows,
        broken_flows=len(answer.broken),
        opened_flows=len(answer.opened),
        warnings=warnings_of(view, document),
    ).SerializeToString()


def stage_policy(replica: Replica, request: bytes, revision: str) -> Iterator[bytes]:
    """Yield the warnings on a policy to stage, then the policy itself if it came as a document.

    Refuses a document that is wrong or empty, and a policy that denies routing sessions.
    """
    query = pb.StagePolicyRequest.FromString(request)
    document = _wanted(replica, query, revision)
    if document.is_empty and not query.allow_empty:
        text = (
            "the document is empty and would allow everything:"
            " staging it needs --allow-empty (in the API, allow_empty)"
        )
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, text)
    _refuse_lockouts(replica, document)
    warned = warnings_of(_view(replica), document)
    yield pb.StagePolicyResponse(warnings=warned).SerializeToString()
    if not revision:
        yield canonical_text(document.policy).encode()


def refuse_lockouts(replica: Replica, revision: str) -> Iterator[bytes]:
    """Refuse a revision that denies routing sessions: neighbours may be new since it was staged."""
    _refuse_lockouts(replica, _kept(replica, revision))
    return iter(())


def diff_policies(replica: Replica, request: bytes, before: str, after: str) -> Iterator[bytes]:
    """Yield two revisions, subject by subject; "" is a policy without rules."""
    del request
    lines = difference(*(replica.policy(name) for name in (before, after)))
    yield pb.DiffPoliciesResponse(lines=map(_line, lines)).SerializeToString()


def document_of(replica: Replica, revision: str) -> Iterator[bytes]:
    """Yield a revision's document."""
    try:
        document = to_document(replica.policy(revision))
    except UnreadableError:
        yield replica.revisions[revision].document.encode()
        return
    yield json.dumps(document, indent=1, ensure_ascii=False).encode()


def _view(replica: Replica) -> View:
    return replica.view(CALLER.get().vrfs)


def _kept(replica: Replica, revision: str) -> Document:
    """Return a revision as a document without lines. Staging it first took the consent."""
    return Document(replica.policy(revision), {}, is_empty=False)


def _wanted(
    replica: Replica, request: pb.WhatIfRequest | pb.StagePolicyRequest, revision: str
) -> Document:
    what = request.WhichOneof("what")
    if what is None:
        raise invalid("document or revision: one of them is needed")
    if what == "revision":
        return _kept(replica, revision)
    try:
        return read_document(request.document)
    except PolicyError as error:
        raise policy_refusal(error.problems) from None


def _refuse_lockouts(replica: Replica, document: Document) -> None:
    if refused := lockouts_of(replica, _view(replica), document):
        raise policy_refusal(refused, grpc.StatusCode.FAILED_PRECONDITION)


def _line(line: Line) -> pb.DiffPoliciesResponse.Line:
    kinds = pb.DiffPoliciesResponse.Line
    change = kinds.CHANGE_ADDED if not line.before else kinds.CHANGE_REMOVED
    if line.before and line.after:
        change = kinds.CHANGE_CHANGED
    return pb.DiffPoliciesResponse.Line(
        change=change, subject=line.subject, before=line.before, after=line.after
    )


def _pair(pair: PairChange) -> pb.PairChange:
    return pb.PairChange(
        vrf=pair.zone,
        source_groups=_kinds(pair.source[1]),
        destination_groups=_kinds(pair.destination[1]),
        opened=map(str, pair.opened),
        closed=map(str, pair.closed),
        source_groups_before=_kinds(pair.source[0]),
        destination_groups_before=_kinds(pair.destination[0]),
    )


def _kinds(membership: Membership) -> list[str]:
    return sorted(membership.names) or [membership.standing.value]
