"""Rules: who may ask whom for what, in which tier and order."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.policy.language.service import ANY_SERVICE, Service


class Action(enum.StrEnum):
    """What a matching rule does; `log` notes the packet and goes on, `pass` leaves the tier."""

    ALLOW = "allow"
    DENY = "deny"
    LOG = "log"
    PASS = "pass"  # noqa: S105 - a word of the policy language


class Tier(enum.StrEnum):
    """Tiers in the order in which they are asked."""

    EMERGENCY = "emergency"
    SECURITY = "security"
    PLATFORM = "platform"
    APPLICATION = "application"
    BASELINE = "baseline"


TIER_RANK = {tier: rank for rank, tier in enumerate(Tier)}


class RuleEndpointKind(enum.StrEnum):
    """What the source or destination of a rule refers to."""

    ANY = "any"
    WORKLOADS = "workloads"
    OUTSIDE = "outside"
    GROUP = "group"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, order=True)
class RuleEndpoint:
    """One source or destination; `name` is that of the group or network set, else ""."""

    kind: RuleEndpointKind
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind.value


ANYONE = RuleEndpoint(RuleEndpointKind.ANY)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy.

    `id` is its name, or `tier/order` when it has none. `vrfs` limits it to those VRFs; empty
    means every VRF. `sources`, `destinations` and `services` are alternatives.
    """

    id: str
    tier: Tier
    order: int
    action: Action
    sources: tuple[RuleEndpoint, ...] = (ANYONE,)
    destinations: tuple[RuleEndpoint, ...] = (ANYONE,)
    services: tuple[Service, ...] = (ANY_SERVICE,)
    vrfs: frozenset[str] = frozenset()
    comment: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """Place in the order of evaluation."""
        return (TIER_RANK[self.tier], self.order)

    @property
    def meaning(self) -> str:
        """Return tier and sentence: what is left of a rule without id, order and comment."""
        return f"{self.tier}: {self}"

    def covers(self, protocol: int, point: int) -> bool:
        """Return whether one of its services covers that protocol and port or ICMP type."""
        return any(service.covers(protocol, point) for service in self.services)

    def applies_in(self, vrf: str) -> bool:
        """Return whether it holds in that VRF."""
        return not self.vrfs or vrf in self.vrfs

    def __str__(self) -> str:
        """Return the rule as a sentence, readable again by parse_sentence."""
        sentence = f"{self.action} {_list(self.sources)} to {_list(self.destinations)}"
        if self.services != (ANY_SERVICE,):
            sentence += f" on {_list(self.services)}"
        return sentence + (f" in vrf {_list(sorted(self.vrfs))}" if self.vrfs else "")


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)


def sorted_endpoints(endpoints: Iterable[RuleEndpoint]) -> tuple[RuleEndpoint, ...]:
    """Return endpoints of a rule in canonical order; `any` swallows the rest."""
    found = set(endpoints)
    return (ANYONE,) if ANYONE in found else tuple(sorted(found))
