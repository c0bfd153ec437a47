"""The Policy service: documents become revisions, and revisions move."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from bulkhead.v1 import policy_pb2 as pb
from bulkhead.v1 import policy_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import policy_refusal, problem_message
from controlplane.api.access.status import StatusError, invalid, not_found
from controlplane.api.services import policy_messages as messages
from controlplane.api.services.document_reader import DocumentReader
from controlplane.api.services.explanation import Explainer
from controlplane.model.observed import Flow
from controlplane.model.revision import Signature, State
from controlplane.policy.compile.identity import Membership
from controlplane.policy.controller import KernelRefusedError, PolicyController, StartingError
from controlplane.policy.insight.flowbook import FlowVerdict
from controlplane.policy.insight.lint import warnings
from controlplane.policy.insight.lockout import lockouts
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.insight.whatif import PairChange, what_if
from controlplane.policy.language.canonical import digest, to_document
from controlplane.policy.language.difference import Line, difference
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import PolicyError, Problem
from controlplane.policy.language.revision import Ledger, MoveError, Revision

MOST_FLOW_CHANGES, MOST_PAIRS, MOST_PROBLEMS = 2_000, 2_000, 1_000
LONGEST_REASON = 500
Context = grpc.aio.ServicerContext[Any, Any]


class PolicyService(policy_pb2_grpc.PolicyServicer):
    """Serves one node's policy."""

    def __init__(
        self, conductor: PolicyController, answers: PolicyQueries, explainer: Explainer
    ) -> None:
        self._conductor = conductor
        self._answers = answers
        self._explainer = explainer
        self._reader = DocumentReader()

    # -- look before anything moves -----------------------------------------------------------

    async def CheckPolicy(
        self, request: pb.CheckPolicyRequest, context: Context
    ) -> pb.CheckPolicyResponse:
        """What is wrong with a document, and what is hardly meant."""
        try:
            policy = await self._reader.read(request.document)
        except PolicyError as error:
            told = error.problems[:MOST_PROBLEMS]
            return pb.CheckPolicyResponse(problems=map(problem_message, told))
        refused = list(self._lockouts(policy))
        if refused:
            return pb.CheckPolicyResponse(problems=map(problem_message, refused))
        # Warnings name workloads, which are not everybody's to see.
        found = [] if CALLER.get().vrfs else self._warnings(policy)
        return pb.CheckPolicyResponse(warnings=found, revision=digest(policy))

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> pb.WhatIfResponse:
        """What would change if this were enforced."""
        policy = await self._wanted(request)
        answer = what_if(
            self._answers.compiled(self._answers.policy),
            self._answers.compiled(policy),
            self._flows(request.baseline),
        )
        return pb.WhatIfResponse(
            flows=[
                pb.FlowChange(
                    flow=messages.observed(each.flow, self._answers),
                    before=messages.ruling(FlowVerdict(*each.before)),
                    after=messages.ruling(FlowVerdict(*each.after)),
                )
                for each in answer.flows[:MOST_FLOW_CHANGES]
            ],
            pairs=map(_pair, answer.pairs[:MOST_PAIRS]),
            narrows=answer.narrows,
            broken_flows=len(answer.broken),
            warnings=self._warnings(policy),
        )

    async def DiffPolicies(
        self, request: pb.DiffPoliciesRequest, context: Context
    ) -> pb.DiffPoliciesResponse:
        """Two revisions, subject by subject."""
        before = self._find(request.before).policy if request.before else self._answers.policy
        after = self._find(request.after).policy if request.after else self._staged().policy
        return pb.DiffPoliciesResponse(lines=map(_line, difference(before, after)))

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """The way of one packet."""
        return self._explainer.explain(request)

    # -- move ---------------------------------------------------------------------------------

    async def StagePolicy(
        self, request: pb.StagePolicyRequest, context: Context
    ) -> pb.StagePolicyResponse:
        """Evaluate a document or a revision beside what is enforced."""
        policy, signed = await self._wanted(request), self._sign(request.reason)
        self._refuse_lockouts(policy)

        def stage(ledger: Ledger) -> Ledger:
            drafted, revision = ledger.draft(policy)
            return drafted.stage(revision.digest, signed)

        await self._move(stage)
        revision = self._conductor.director.ledger.revisions[digest(policy)]
        return pb.StagePolicyResponse(
            revision=messages.revision(revision), warnings=self._warnings(policy)
        )

    async def UnstagePolicy(
        self, request: pb.UnstagePolicyRequest, context: Context
    ) -> pb.UnstagePolicyResponse:
        """Stop evaluating the staged revision."""
        signed = self._sign(request.reason)

        def unstage(ledger: Ledger) -> Ledger:
            return ledger if ledger.in_state(State.STAGED) is None else ledger.unstage(signed)

        await self._move(unstage)
        return pb.UnstagePolicyResponse()

    async def PromotePolicy(
        self, request: pb.PromotePolicyRequest, context: Context
    ) -> pb.PromotePolicyResponse:
        """Enforce the staged revision; again is OK if it is the one that is enforced already."""
        signed = self._sign(request.reason)

        def promote(ledger: Ledger) -> Ledger:
            staged, enforced = ledger.in_state(State.STAGED), ledger.in_state(State.ENFORCED)
            if request.expected and (staged is None or not _names(request.expected, staged)):
                if staged is None and enforced and _names(request.expected, enforced):
                    return ledger
                found = staged.digest[:12] if staged else "nothing"
                raise StatusError(grpc.StatusCode.ABORTED, f"staged is {found}: look at it first")
            if staged is not None:
                self._refuse_lockouts(staged.policy)
            return ledger.promote(signed)

        ended, took = await self._move(promote)
        return pb.PromotePolicyResponse(
            enforced=self._enforced(),
            ended_flows=ended,
            enforced_after_microseconds=int(took * 1e6),
        )

    async def RollBackPolicy(
        self, request: pb.RollBackPolicyRequest, context: Context
    ) -> pb.RollBackPolicyResponse:
        """Enforce an earlier revision again."""
        signed = self._sign(request.reason)

        def roll_back(ledger: Ledger) -> Ledger:
            enforced = ledger.in_state(State.ENFORCED)
            if request.revision and enforced and _names(request.revision, enforced):
                return ledger
            after = ledger.roll_back(signed, request.revision)
            returning = after.in_state(State.ENFORCED)
            if returning is not None:  # neighbours may have come since it was enforced
                self._refuse_lockouts(returning.policy)
            return after

        ended, _ = await self._move(roll_back)
        return pb.RollBackPolicyResponse(enforced=self._enforced(), ended_flows=ended)

    # -- history ------------------------------------------------------------------------------

    async def ListRevisions(
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> pb.ListRevisionsResponse:
        """Revisions, those that moved last first."""
        ledger = self._conductor.director.ledger
        names = (name for entry in ledger.trail for name in (entry.before, entry.after))
        moved = {name: place for place, name in enumerate(names)}
        rows = sorted(ledger.revisions.values(), key=lambda r: -moved.get(r.digest, -1))
        return pb.ListRevisionsResponse(revisions=map(messages.revision, rows))

    async def GetRevision(
        self, request: pb.GetRevisionRequest, context: Context
    ) -> pb.GetRevisionResponse:
        """One revision with its document."""
        revision = self._find(request.revision)
        document = json.dumps(to_document(revision.policy), indent=1, ensure_ascii=False)
        return pb.GetRevisionResponse(revision=messages.revision(revision), document=document)

    async def ListChanges(
        self, request: pb.ListChangesRequest, context: Context
    ) -> pb.ListChangesResponse:
        """Who moved what, the latest first."""
        trail = self._conductor.director.ledger.trail[::-1]
        rows = trail[: request.limit] if request.limit else trail
        return pb.ListChangesResponse(changes=map(messages.change, rows))

    # -- parts --------------------------------------------------------------------------------

    async def _move(self, change: Callable[[Ledger], Ledger]) -> tuple[int, float]:
        CHANGE.get().before = self._standing()
        try:
            _, ended, took = await self._conductor.move(change)
        except MoveError as error:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
        except StartingError:
            text = "the node has just started and hears its peers first: try again in a moment"
            raise StatusError(grpc.StatusCode.UNAVAILABLE, text) from None
        except KernelRefusedError as error:
            text = f"the kernel refused it, nothing has changed: {error}"
            raise StatusError(grpc.StatusCode.INTERNAL, text[:500]) from None
        CHANGE.get().after = self._standing()
        return ended, took

    def _standing(self) -> str:
        ledger = self._conductor.director.ledger
        found = (ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
        enforced, staged = (revision.digest if revision else "-" for revision in found)
        return f"enforced {enforced} staged {staged}"

    def _sign(self, reason: str) -> Signature:
        return Signature(
            CALLER.get().identity, self._conductor.now(), reason.strip()[:LONGEST_REASON]
        )

    async def _wanted(self, request: pb.WhatIfRequest | pb.StagePolicyRequest) -> Policy:
        what = request.WhichOneof("what")
        if what is None:
            raise invalid("document or revision: one of them is needed")
        if what == "revision":
            return self._find(request.revision).policy
        try:
            return await self._reader.read(request.document)
        except PolicyError as error:
            raise policy_refusal(error.problems) from None

    def _find(self, revision: str) -> Revision:
        try:
            return self._conductor.director.ledger.find(revision)
        except MoveError as error:
            raise not_found(str(error)) from None

    def _staged(self) -> Revision:
        staged = self._conductor.director.ledger.in_state(State.STAGED)
        if staged is None:
            raise not_found("nothing is staged")
        return staged

    def _enforced(self) -> pb.Revision | None:
        enforced = self._conductor.director.ledger.in_state(State.ENFORCED)
        return messages.revision(enforced) if enforced else None

    def _flows(self, baseline: str) -> list[Flow]:
        return flows_of(self._conductor, baseline)

    def _warnings(self, policy: Policy) -> list[pb.PolicyProblem]:
        compiled = self._answers.compiled(policy)
        return [problem_message(p) for p in warnings(compiled, self._answers.inventory)]

    def _lockouts(self, policy: Policy) -> Iterator[Problem]:
        return lockouts(policy, self._answers.inventory, self._conductor.intent)

    def _refuse_lockouts(self, policy: Policy) -> None:
        refused = list(self._lockouts(policy))
        if refused:
            raise policy_refusal(refused, grpc.StatusCode.FAILED_PRECONDITION)


def flows_of(conductor: PolicyController, baseline: str) -> list[Flow]:
    """The flows of a baseline, or all that were seen; raises Refusal."""
    if not baseline:
        return [seen.observed() for seen in conductor.book.seen()]
    if baseline not in conductor.baselines:
        raise not_found(f"there is no baseline {baseline!r}")
    return list(conductor.baselines[baseline].flows)


def _names(prefix: str, revision: Revision) -> bool:
    return len(prefix) >= 4 and revision.digest.startswith(prefix)


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
    )


def _kinds(membership: Membership) -> list[str]:
    return sorted(membership.names) or [membership.standing.value]
