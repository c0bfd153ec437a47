"""Policy documents that callers send: read away from the node's loop, one at a time a caller."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import exhausted
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import Policy

LONGEST = 1 << 20
"""Bytes. As much as ten thousand rules with their comments."""


@dataclass(slots=True)
class DocumentReader:
    """A large document takes seconds to read, in which the node has other things to do, and other
    callers theirs to be read."""

    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def read(self, text: str) -> Policy:
        """The policy that a document says. Raises PolicyError, and Refusal if it is too long."""
        if len(text.encode()) > LONGEST:
            raise exhausted(f"a document has at most {LONGEST >> 10} KiB")
        who = CALLER.get().identity
        turn = self._turns.get(who)
        if turn is None:
            self._turns[who] = turn = asyncio.Lock()
        async with turn:
            return await asyncio.to_thread(parse_policy, text)
