"""The Policy service: documents become revisions, and revisions move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
from bulkhead.v1 import policy_pb2 as pb
from bulkhead.v1 import policy_pb2_grpc

from controlplane.api.access.audit import CHANGE
from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import StatusError, exhausted, not_found
from controlplane.api.answers import policy_messages as messages
from controlplane.api.services.packet_routes import add_route
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.services.queries import Encoded, Queries
from controlplane.model.prefix import parse_address
from controlplane.model.revision import KeptRevision, Signature, State
from controlplane.model.view import NodeView
from controlplane.policy.insight.replica_feed import Needs
from controlplane.policy.language.canonical import digest_of
from controlplane.policy.language.outline import Outline, outline_of
from controlplane.policy.language.revision import MoveError, Revision
from controlplane.policy.requests import (
    KernelRefusedError,
    Moved,
    OvertakenError,
    StartingError,
    TooManyMovesError,
)
from controlplane.policy.revision_moves import names

LONGEST_REASON = 500
Context = grpc.aio.ServicerContext[Any, Any]


class PolicyService(policy_pb2_grpc.PolicyServicer):
    """Serves one node's policy."""

    def __init__(self, controller: PolicyAccess, queries: Queries, view: NodeView) -> None:
        self._controller = controller
        self._queries = queries
        self._view = view
        self._outlines: dict[str, Outline] = {}

    # -- look before anything moves -----------------------------------------------------------

    async def CheckPolicy(self, request: pb.CheckPolicyRequest, context: Context) -> Encoded:
        """Return what is wrong with a document, and what is hardly meant."""
        return await self._queries.answer("CheckPolicy", request)

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> Encoded:
        """Return what would change if this were enforced."""
        revision = self._named(request)
        needs = Needs(
            flows=not request.baseline,
            baseline=self._queries.baseline(request.baseline),
            revisions=(revision,) if revision else (),
        )
        return await self._queries.answer("WhatIf", request, revision, needs=needs)

    async def DiffPolicies(self, request: pb.DiffPoliciesRequest, context: Context) -> Encoded:
        """Return two revisions, subject by subject."""
        before = self._queries.revision(request.before) if request.before else self._in_force()
        after = self._queries.revision(request.after) if request.after else self._staged()
        names = (before.digest if before else "", after.digest)
        needs = Needs(revisions=tuple(filter(None, names)))
        return await self._queries.answer("DiffPolicies", request, *names, needs=needs)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """Return the way of one packet."""
        answer, *ends = await self._queries.parts("Explain", request)
        response = pb.ExplainResponse.FromString(answer)
        source, destination = (parse_address(end.decode()) for end in ends)
        add_route(self._view, response, source, destination)
        return response

    # -- move ---------------------------------------------------------------------------------

    async def StagePolicy(
        self, request: pb.StagePolicyRequest, context: Context
    ) -> pb.StagePolicyResponse:
        """Evaluate a document or a revision beside what is enforced."""
        named, signed = self._named(request), self._sign(request.reason)
        needs = Needs(revisions=(named,) if named else ())
        parts = await self._queries.parts("StagePolicy", request, named, needs=needs)
        response = pb.StagePolicyResponse.FromString(parts[0])
        # In a thread: ten thousand rules take a second to make, or to read.
        staged = await asyncio.to_thread(self._to_stage, named, parts)
        await self._move(self._controller.stage(staged, signed))
        revision = self._controller.state.ledger.revisions[staged.digest]
        response.revision.CopyFrom(await self._message(revision))
        return response

    def _to_stage(self, named: str, parts: tuple[bytes, ...]) -> Revision:
        if not named:
            text = parts[1].decode()
            return _read(Revision.kept(KeptRevision(digest_of(text), State.DRAFT, text)))
        return _read(self._controller.state.ledger.revisions[named])

    async def UnstagePolicy(
        self, request: pb.UnstagePolicyRequest, context: Context
    ) -> pb.UnstagePolicyResponse:
        """Stop evaluating the staged revision."""
        await self._move(self._controller.unstage(self._sign(request.reason)))
        return pb.UnstagePolicyResponse()

    async def PromotePolicy(
        self, request: pb.PromotePolicyRequest, context: Context
    ) -> pb.PromotePolicyResponse:
        """Enforce the staged revision; again is OK if it is the one that is enforced already."""
        expected, signed = request.expected, self._sign(request.reason)
        staged = self._controller.state.ledger.in_state(State.STAGED)
        await self._refuse_lockouts(staged)
        if staged is not None and (not expected or names(expected, staged)):
            expected = staged.digest  # the one that was checked, and no other staged meanwhile
        moved = await self._move(self._controller.promote(expected, signed))
        return pb.PromotePolicyResponse(
            enforced=await self._enforced(),
            ended_flows=moved.ended,
            enforced_after_microseconds=int(moved.seconds * 1e6),
        )

    async def RollBackPolicy(
        self, request: pb.RollBackPolicyRequest, context: Context
    ) -> pb.RollBackPolicyResponse:
        """Enforce an earlier revision again."""
        signed, revision = self._sign(request.reason), request.revision
        if revision:
            revision = self._queries.revision(revision).digest
        returning = await asyncio.to_thread(self._returning, signed, revision)
        await self._refuse_lockouts(returning)
        if returning is not None:
            revision = returning.digest  # the one that was checked
        moved = await self._move(self._controller.roll_back(revision, signed))
        return pb.RollBackPolicyResponse(enforced=await self._enforced(), ended_flows=moved.ended)

    # -- history ------------------------------------------------------------------------------

    async def ListRevisions(
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> pb.ListRevisionsResponse:
        """Return revisions, those that moved last first."""
        ledger = self._controller.state.ledger
        names = (name for entry in ledger.trail for name in (entry.before, entry.after))
        moved = {name: place for place, name in enumerate(names)}
        rows = sorted(ledger.revisions.values(), key=lambda r: -moved.get(r.digest, -1))
        rows = rows[: request.limit] if request.limit else rows
        response = pb.ListRevisionsResponse(revisions=[await self._message(row) for row in rows])
        for row in response.revisions:
            if row.digest in moved:  # a place is that of the half of an entry
                entry = ledger.trail[moved[row.digest] // 2]
                row.last_change.CopyFrom(messages.change(entry))
        return response

    async def GetRevision(
        self, request: pb.GetRevisionRequest, context: Context
    ) -> pb.GetRevisionResponse:
        """Return one revision with its document."""
        revision = self._queries.revision(request.revision)
        needs = Needs(revisions=(revision.digest,))
        document = await self._queries.pool.run("document_of", CALLER.get(), needs, revision.digest)
        return pb.GetRevisionResponse(
            revision=await self._message(revision), document=document[0].decode()
        )

    async def ListChanges(
        self, request: pb.ListChangesRequest, context: Context
    ) -> pb.ListChangesResponse:
        """Return who moved what, the latest first."""
        trail = self._controller.state.ledger.trail[::-1]
        rows = trail[: request.limit] if request.limit else trail
        return pb.ListChangesResponse(changes=map(messages.change, rows))

    # -- parts --------------------------------------------------------------------------------

    async def _move(self, asked: Awaitable[Moved]) -> Moved:
        CHANGE.get().before = self._standing()
        try:
            moved = await asked
        except MoveError as error:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
        except OvertakenError as error:
            raise StatusError(grpc.StatusCode.ABORTED, str(error)) from None
        except TooManyMovesError:
            text = "too many moves of the policy wait for the one under way: ask again later"
            raise exhausted(text) from None
        except StartingError:
            text = "initial sync is still running; retry in a few seconds"
            raise StatusError(grpc.StatusCode.UNAVAILABLE, text) from None
        except KernelRefusedError as error:
            text = f"the kernel refused it, nothing has changed: {error}"
            raise StatusError(grpc.StatusCode.INTERNAL, text[:500]) from None
        CHANGE.get().after = self._standing()
        return moved

    def _standing(self) -> str:
        ledger = self._controller.state.ledger
        found = (ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
        enforced, staged = (revision.digest if revision else "-" for revision in found)
        return f"enforced {enforced} staged {staged}"

    def _sign(self, reason: str) -> Signature:
        return Signature(
            CALLER.get().signature, self._controller.now(), reason.strip()[:LONGEST_REASON]
        )

    def _named(self, request: pb.WhatIfRequest | pb.StagePolicyRequest) -> str:
        """Return the digest of the revision that a request names; "" where it brings a document."""
        if request.WhichOneof("what") != "revision":
            return ""
        return self._queries.revision(request.revision).digest

    def _in_force(self) -> Revision | None:
        return self._controller.state.ledger.in_state(State.ENFORCED)

    def _returning(self, signed: Signature, revision: str) -> Revision | None:
        """Return what a roll-back would enforce; None where there is nothing to roll back to."""
        try:
            after = self._controller.state.ledger.roll_back(signed, revision)
        except MoveError:
            return None  # the move itself says why
        return after.in_state(State.ENFORCED)

    async def _refuse_lockouts(self, revision: Revision | None) -> None:
        """Check a revision again for neighbours that are new since. Raises StatusError."""
        if revision is not None:
            await asyncio.to_thread(_read, revision)
            needs = Needs(revisions=(revision.digest,))
            await self._queries.pool.run("refuse_lockouts", CALLER.get(), needs, revision.digest)

    def _staged(self) -> Revision:
        staged = self._controller.state.ledger.in_state(State.STAGED)
        if staged is None:
            raise not_found("nothing is staged")
        return staged

    async def _enforced(self) -> pb.Revision | None:
        enforced = self._in_force()
        return await self._message(enforced) if enforced else None

    async def _message(self, revision: Revision) -> pb.Revision:
        """Return a revision without its document, which is looked into once."""
        outline = self._outlines.get(revision.digest)
        if outline is None:
            known = self._controller.state.ledger.revisions.keys()
            self._outlines = {d: o for d, o in self._outlines.items() if d in known}
            outline = await asyncio.to_thread(outline_of, revision.document)
            self._outlines[revision.digest] = outline
            await asyncio.to_thread(_read, revision)
        return messages.revision(revision, outline)


def _read(revision: Revision) -> Revision:
    """Parse a document that the store kept as text, so that a move need not."""
    _ = revision.problem
    return revision
