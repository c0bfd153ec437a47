"""Policies that speak against the node's own routing sessions.

The kernel never asks a policy about what the node itself says, so such a rule would not cut the
session; but whoever wrote it meant something else, and a CE behind another PE would be cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.workload import Inventory, Packet
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import Problem
from controlplane.policy.language.rule import Action

_TCP = 6


def lockouts(policy: Policy, inventory: Inventory, intent: NodeIntent) -> Iterator[Problem]:
    """A problem for each session with a CE that a rule (not a default) denies."""
    denying = {rule.id for rule in policy.rules if rule.action is Action.DENY}
    for vrf in intent.vrfs:
        for peer in vrf.neighbors:
            rule = _denied_by(policy, inventory, peer)
            if rule in denying and vrf.name in inventory.zones:
                text = f"denies the BGP session with {peer.peer}"
                cure = f"name the hosts it means, or allow tcp/{peer.connect_port} before it"
                yield Problem(f"rules.{rule}", text, cure)


def _denied_by(policy: Policy, inventory: Inventory, peer: PeerIntent) -> str:
    near, far = peer.local_address, peer.peer.address
    packet = Packet(far.version, _TCP, dport=peer.connect_port)
    for ends in ((near, far), (far, near)):
        decision = evaluate(policy, inventory, peer.peer.vrf, *ends, packet)
        if not decision.allowed:
            return decision.rule
    return ""
