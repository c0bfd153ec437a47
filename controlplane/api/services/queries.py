"""Ask a compute worker: what services do with requests that need whole tables."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import not_found
from controlplane.api.compute.pool import ComputePool
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.model.name_list import those
from controlplane.model.revision import State
from controlplane.policy.insight.replica_feed import Needs
from controlplane.policy.language.revision import MoveError, Revision

Encoded = bytes
"""A response as a worker encoded it: it goes to the caller as it is."""


NOTHING_MORE = Needs()


@dataclass(frozen=True, slots=True)
class Queries:
    """The pool for one node's policy."""

    pool: ComputePool
    controller: PolicyAccess

    async def parts(
        self, name: str, request: Message, *arguments: object, needs: Needs = NOTHING_MORE
    ) -> tuple[bytes, ...]:
        """Return the parts of an answer to the caller of this task. Raises StatusError."""
        caller, encoded = CALLER.get(), request.SerializeToString()
        return await self.pool.run(name, caller, needs, encoded, *arguments)

    async def answer(
        self, name: str, request: Message, *arguments: object, needs: Needs = NOTHING_MORE
    ) -> Encoded:
        """Return an answer of one part."""
        return (await self.parts(name, request, *arguments, needs=needs))[0]

    def revision(self, prefix: str) -> Revision:
        """Return the revision that a request names. Raises StatusError (NOT_FOUND).

        For a caller that is limited to some VRFs drafts and superseded revisions do not exist:
        documents are for callers that see the whole node.
        """
        ledger = self.controller.state.ledger
        if CALLER.get().vrfs:
            states = (ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
            for revision in states:
                if revision and len(prefix) >= 4 and revision.digest.startswith(prefix):
                    return revision
            raise not_found(f"no revision begins with {prefix!r}")
        try:
            return ledger.find(prefix)
        except MoveError as error:
            raise not_found(str(error)) from None

    def baseline(self, name: str) -> str:
        """Return a baseline's name. Raises StatusError (NOT_FOUND)."""
        if name and name not in self.controller.baselines:
            known = those("baselines", self.controller.baselines)
            raise not_found(f"there is no baseline {name!r}{known}")
        return name
