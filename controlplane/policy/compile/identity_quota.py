"""Identity numbers, shared by all VRFs of the node in fair parts.

A packet mark has room for 32,767 identities. One VRF's workloads and one BGP peer can make as many
sets of groups as they like; once they took all numbers and every other tenant's changes failed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

from controlplane.model.prefix import Prefix
from controlplane.policy.compile.identity import PENDING, Identity
from controlplane.policy.compile.numbers import IdAllocator, IdsExhaustedError

IDENTITY_BITS = 15
"""Two identities and a contract flag fit a 32-bit packet mark."""
LAST_IDENTITY = 2**IDENTITY_BITS - 1
MOST_OF_VRF = 2_048
"""Identities of one VRF: sets of groups and of network sets that its addresses are in."""
RESERVED, GUARANTEED = 8_192, 8
"""The last numbers are for VRFs that have fewer identities than the guaranteed ones."""
LAST_RESORT = 2_048
"""The very last numbers are for what is pending, one for each VRF."""


class IdentityQuotaError(IdsExhaustedError):
    """A VRF has as many identities as it may have."""


class IdentityAllocator(IdAllocator[Identity]):
    """Numbers 1..2^15-1; 0 is never given, it means unknown.

    What is pending needs a number in each VRF and always gets one: it is what an address becomes
    that is refused an identity of its own.
    """

    def __init__(
        self, taken: Mapping[Identity, int] | None = None, *, last: int = LAST_IDENTITY,
        most_of_vrf: int = MOST_OF_VRF, reserved: int = RESERVED, last_resort: int = LAST_RESORT,
    ) -> None:  # fmt: skip
        super().__init__(1, last, taken)
        self.most_of_vrf, self._reserved, self._last_resort = most_of_vrf, reserved, last_resort
        self._of_vrf = Counter(identity.zone for identity in taken or ())

    def refusal(self, identity: Identity) -> str:
        """Return why an identity cannot have a number now, "" if it can or has one."""
        if self.get(identity) is not None or identity.membership == PENDING:
            return ""
        return self.refusal_in(identity.zone)

    def refusal_in(self, vrf: str) -> str:
        """Return why a VRF cannot have one more identity now, "" if it can."""
        used = self._of_vrf[vrf]
        if used >= self.most_of_vrf:
            return (
                f"VRF {vrf} has {used} different sets of groups, the most that it may have: use"
                " fewer combinations of tags that rules name"
            )
        kept = self._reserved if used >= GUARANTEED else self._last_resort
        if self.room <= kept:
            return (
                f"the node has given out its identities but for {GUARANTEED} of each VRF, and VRF"
                f" {vrf} has {used}: use fewer combinations of tags that rules name"
            )
        return ""

    def used_by(self, vrf: str) -> int:
        """Return how many identities a VRF has."""
        return self._of_vrf[vrf]

    def _admit(self, key: Identity) -> None:
        if why := self.refusal(key):
            raise IdentityQuotaError(why)
        self._of_vrf[key.zone] += 1

    def _forget(self, key: Identity) -> None:
        self._of_vrf[key.zone] -= 1
        if not self._of_vrf[key.zone]:
            del self._of_vrf[key.zone]


def admitted(identity: Identity, numbers: IdentityAllocator) -> Identity:
    """Return the identity, or the pending one of its VRF where it cannot have a number.

    Denied and not an error: the sets of groups come from tags and from BGP peers.
    """
    return Identity(identity.zone, PENDING) if numbers.refusal(identity) else identity


class RefusedAddresses:
    """Prefixes and ranges that are pending for want of an identity, to be tried again."""

    MOST_TRIED = 64
    """Of a VRF in one change: the work of a change does not follow how many wait."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[Prefix, None]] = {}
        self._ranges: set[tuple[str, int]] = set()

    def add(self, vrf: str, prefix: Prefix) -> None:
        """Note a single address."""
        self._hosts.setdefault(vrf, {})[prefix] = None

    def discard(self, vrf: str, prefix: Prefix) -> None:
        """Note that an address does not wait any more."""
        hosts = self._hosts.get(vrf, {})
        hosts.pop(prefix, None)
        if not hosts:
            self._hosts.pop(vrf, None)

    def add_range(self, vrf: str, width: int) -> None:
        """Note that a range of a VRF is pending; `width` of its addresses in bytes."""
        self._ranges.add((vrf, width))

    def counts(self) -> dict[str, int]:
        """Return how many wait in each VRF."""
        found = Counter({vrf: len(hosts) for vrf, hosts in self._hosts.items()})
        found.update(vrf for vrf, _ in self._ranges)
        return dict(found)

    def worth_another_try(self, numbers: IdentityAllocator) -> list[tuple[str, Prefix]]:
        """Take some addresses of each VRF that may have an identity again."""
        found: list[tuple[str, Prefix]] = []
        for vrf in [vrf for vrf in self._hosts if not numbers.refusal_in(vrf)]:
            hosts = self._hosts[vrf]
            taken = [*itertools.islice(hosts, self.MOST_TRIED)]
            for prefix in taken:
                del hosts[prefix]
            if not hosts:
                del self._hosts[vrf]
            found += [(vrf, prefix) for prefix in taken]
        return found

    def ranges_worth_another_try(self, numbers: IdentityAllocator) -> set[tuple[str, int]]:
        """Take the ranges of each VRF that may have an identity again."""
        found = {each for each in self._ranges if not numbers.refusal_in(each[0])}
        self._ranges -= found
        return found
