"""Find rules that deny the node's own routing sessions.

The kernel never asks a policy about what the node itself sends, so such a rule does not end the
session; but it is hardly meant, and it does end the session of a CE behind another PE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.model.intent import NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Inventory, Packet
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import Problem
from controlplane.policy.language.rule import Action

_TCP = 6


class RoutingSession(NamedTuple):
    """A session with a CE, without its secrets."""

    peer: PeerId
    near: IPAddress
    port: int


def routing_sessions(intent: NodeIntent) -> Iterator[RoutingSession]:
    """Yield the sessions with CEs that the configuration names."""
    for vrf in intent.vrfs:
        for neighbor in vrf.neighbors:
            yield RoutingSession(neighbor.peer, neighbor.local_address, neighbor.connect_port)


def lockouts(
    policy: Policy, inventory: Inventory, sessions: Iterable[RoutingSession]
) -> Iterator[Problem]:
    """Yield a problem for each session in the inventory's VRFs that a rule (not a default)
    denies."""
    denying = {rule.id for rule in policy.rules if rule.action is Action.DENY}
    for session in sessions if denying else ():
        if session.peer.vrf not in inventory.zones:
            continue
        rule = _denied_by(policy, inventory, session)
        if rule in denying:
            text = f"denies the BGP session with {session.peer}"
            cure = f"name the hosts it means, or allow tcp/{session.port} before it"
            yield Problem(f"rules.{rule}", text, cure)


def _denied_by(policy: Policy, inventory: Inventory, session: RoutingSession) -> str:
    near, far = session.near, session.peer.address
    packet = Packet(far.version, _TCP, dport=session.port)
    for ends in ((near, far), (far, near)):
        decision = evaluate(policy, inventory, session.peer.vrf, *ends, packet)
        if not decision.allowed:
            return decision.rule
    return ""
