"""Why a packet is allowed or denied: every rule that was asked, and what it answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Inventory, Packet
from controlplane.policy.compile.directory import Directory, Who
from controlplane.policy.compile.reference import (
    Decision,
    Party,
    evaluate,
    is_endpoint,
    party,
    point_of,
)
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.rule import Action, Rule, Tier


@dataclass(frozen=True, slots=True)
class Step:
    """One rule and its answer: `allow`, `deny`, `log`, `pass`, or why it was not the one."""

    tier: Tier
    rule: Rule
    answer: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The chain from addresses to verdict. `steps` end with the rule that decided, if one did."""

    zone: str
    source: Who
    destination: Who
    packet: Packet
    steps: tuple[Step, ...]
    decision: Decision

    def lines(self) -> Iterator[str]:
        """Yield the chain as text, one thought a line."""
        yield f"VRF {self.zone}"
        yield f"from {self.source}"
        yield f"to   {self.destination}"
        for step in self.steps:
            yield f"{step.tier} {step.rule.order}: {step.rule}  -> {step.answer}"
        verdict = "allowed" if self.decision.allowed else "denied"
        yield f"{verdict} by {self.decision.rule}: {self.decision.why}"


def explain(
    policy: Policy,
    inventory: Inventory,
    zone: str,
    source: IPAddress,
    destination: IPAddress,
    packet: Packet,
) -> Explanation:
    """Explain the packet that opens a flow from `source` to `destination` in VRF `zone`."""
    directory = Directory(policy, inventory)
    decision = evaluate(policy, inventory, zone, source, destination, packet)
    src, dst = (party(policy, inventory, zone, address) for address in (source, destination))
    asked = decision.rule not in ("default/zone", "default/malformed", "default/pending")
    steps = tuple(_steps(policy, zone, src, dst, packet)) if asked else ()
    whos = (directory.who(zone, source), directory.who(zone, destination))
    return Explanation(zone, *whos, packet, steps, decision)


def _steps(policy: Policy, zone: str, src: Party, dst: Party, packet: Packet) -> Iterator[Step]:
    left: Tier | None = None
    for rule in policy.rules:
        if rule.tier is left:
            continue
        answer = _mismatch(rule, zone, src, dst, packet) or rule.action.value
        yield Step(rule.tier, rule, answer)
        if answer == Action.PASS:
            left = rule.tier
        if answer in (Action.ALLOW, Action.DENY):
            return


def _mismatch(rule: Rule, zone: str, src: Party, dst: Party, packet: Packet) -> str:
    if not rule.applies_in(zone):
        return "not for this VRF"
    if not any(is_endpoint(endpoint, src) for endpoint in rule.sources):
        return "another source"
    if not any(is_endpoint(endpoint, dst) for endpoint in rule.destinations):
        return "another destination"
    if not rule.covers(packet.protocol, point_of(packet)):
        return "another service"
    return ""
