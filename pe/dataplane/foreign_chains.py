"""Find out when other programs change the kernel's rulesets, and have their chains read then.

The ruleset's number says whether there was a change by another program: notifications would cost
each transaction of the node a message for every element.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controlplane.model.desired import Desired
from controlplane.model.log import Log
from controlplane.model.supervision import Part
from pe.filters.core import OF_A_VPN, UNDER_A_LABEL
from pe.filters.manager import TABLES
from pe.model.mark_code import CODE_MASK
from pe.nft import foreign_chains
from pe.nft.foreign_chains import Ours
from pe.nft.owner import RulesetOwner
from pe.observe.log_entry import FLOW_GROUP, STAGED_GROUP
from pe.policy.program import TABLE

PART = "foreign chains"
REST = 20
"""After a reading so many times its duration passes before the next: other programs may change
theirs all the time."""
_VERDICT_BITS = CODE_MASK & ~0x0FFFFFFF | OF_A_VPN | UNDER_A_LABEL
_TABLES = frozenset({*TABLES, TABLE})


class ForeignChains:
    """Reads chains of other programs in a thread, and hands ``take`` what they do to marks."""

    def __init__(
        self,
        rulesets: RulesetOwner,
        desired: Desired,
        log: Log,
        part: Part,
        take: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._rulesets, self._desired, self._part, self._take = rulesets, desired, part, take
        self._log = log
        self._bits = 0
        self._reading = self._unreadable = False
        self._next = float("-inf")

    def look(self, now: float) -> None:
        """Begin to read, if another program changed the ruleset since."""
        if self._reading or now < self._next:
            return
        try:
            generation = self._rulesets.generation()
        except OSError as error:
            self._refused(error)
            return  # with the next look
        bits = self._packet_bits()
        if bits == self._bits and self._rulesets.is_known(PART, generation):
            return
        # Before it is read: what changes meanwhile is another change.
        self._rulesets.know(PART, generation)
        self._bits, self._reading = bits, True
        self._part.spawn(self._read())

    def read_anew(self) -> None:
        """Read with the next look."""
        self._bits = 0

    def _packet_bits(self) -> int:
        """Return the bits of a packet's mark that decide something: those of verdicts and labels,
        and, of an IPv6 packet, the number of its VRF's table (pe.filters.too_big)."""
        tables = (vrf.table for vrf in self._desired.vrfs.values())
        return _VERDICT_BITS | (1 << max(tables, default=0).bit_length()) - 1

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ours = Ours(_TABLES, self._bits, frozenset({FLOW_GROUP, STAGED_GROUP}))
        try:
            found = await asyncio.to_thread(foreign_chains.read, ours)
        except Exception as error:
            self._bits = 0  # with the next look
            if not isinstance(error, OSError):
                raise
            self._refused(error)
        else:
            self._unreadable = False
            self._take(found)
        finally:
            self._reading = False
            self._next = loop.time() + REST * (loop.time() - began)

    def _refused(self, error: OSError) -> None:
        """Log the first of several failures in a row."""
        if not self._unreadable:
            reason = error.strerror or str(error)
            fields: dict[str, str | int] = {"kind": "foreign-chain", "name": "rulesets"}
            self._log("error", "kernel_refused", {**fields, "reason": reason})
        self._unreadable = True
