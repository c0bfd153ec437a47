"""The reference evaluator: what a policy means, written to be read rather than to be fast.

It scans everything, in the words of the policy, and knows nothing of identities, contracts
or tables; the compiled form is tested against it. See docs/microsegmentation.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.model.prefix import IPAddress, Prefix, host_prefix
from controlplane.model.protocols import ICMP, ICMP6, PORT_PROTOCOLS
from controlplane.model.workload import Inventory, Packet, RemotePrefix
from controlplane.policy.compile.meanings import groups_under, names_by_id
from controlplane.policy.language.policy import Mode, ModeSetting, Policy
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint, RuleEndpointKind, Tier
from controlplane.policy.language.selector import matches


@dataclass(frozen=True, slots=True)
class Party:
    """What an address is: a workload in `groups`, something outside in `networks`, or pending."""

    workload: bool
    pending: bool = False
    groups: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


PENDING = Party(workload=True, pending=True)


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, by which rule (or `default/...`) of which tier (None: a default), why.

    `logged` are the ids of the log rules that matched on the way, in order.
    """

    allowed: bool
    rule: str
    tier: Tier | None
    why: str
    logged: tuple[str, ...] = ()


def evaluate(
    policy: Policy,
    inventory: Inventory,
    zone: str,
    source: IPAddress,
    destination: IPAddress,
    packet: Packet,
) -> Decision:
    """Return the verdict on the packet that opens a flow from `source` to `destination` in VRF
    `zone`."""
    if zone not in inventory.zones:
        return Decision(False, "default/zone", None, f"VRF {zone!r} is not here")
    if packet.family != source.version or packet.family != destination.version:
        raise ValueError("packet and addresses are of different families")
    if (packet.family, packet.protocol) in ((4, ICMP6), (6, ICMP)):
        return Decision(False, "default/malformed", None, "it is ICMP of the other address family")
    src = party(policy, inventory, zone, source)
    dst = party(policy, inventory, zone, destination)
    if src.pending or dst.pending:
        ends = (("source", src, source), ("destination", dst, destination))
        unknown = [f"the {side}, {address}" for side, end, address in ends if end.pending]
        why = f"the groups of {' and of '.join(unknown)}, are not known (pending or in hold-down)"
        return Decision(False, "default/pending", None, why)
    return _by_rules(policy, zone, src, dst, packet)


def party(policy: Policy, inventory: Inventory, zone: str, address: IPAddress) -> Party:
    """Return who has `address` in VRF `zone`: the longest claimed prefix decides, else network
    sets."""
    wanted = host_prefix(address)
    claims = list(_claims(policy, inventory, zone, wanted))
    if claims:
        longest = max(length for length, _ in claims)
        parties = {found for length, found in claims if length == longest}
        # Two claimants with different groups: the packet's sender is ambiguous. Groups that no
        # rule and no mode names are left out: they make no difference here either.
        return parties.pop() if len(parties) == 1 else PENDING
    names = frozenset(
        name
        for name, network in policy.networks.items()
        if any(prefix.contains(wanted) for prefix in network.prefixes)
    )
    return Party(workload=False, networks=names)


def _claims(
    policy: Policy, inventory: Inventory, zone: str, wanted: Prefix
) -> Iterable[tuple[int, Party]]:
    for workload in inventory.workloads:
        for prefix in workload.addresses:
            if workload.vrf == zone and prefix.contains(wanted):
                names = {n for n, g in policy.groups.items() if matches(g.selector, workload.tags)}
                yield prefix.length, Party(workload=True, groups=_mentioned(policy, names))
    for remote in inventory.remotes:
        if remote.vrf == zone and remote.prefix.contains(wanted):
            yield remote.prefix.length, _remote_party(policy, remote)


def _remote_party(policy: Policy, remote: RemotePrefix) -> Party:
    ours = names_by_id(policy)
    ids = groups_under(remote, policy.revision, ours)
    if ids is None:
        return PENDING
    return Party(workload=True, groups=_mentioned(policy, {ours[i] for i in ids if i in ours}))


def _mentioned(policy: Policy, names: set[str]) -> frozenset[str]:
    mentioned = set(policy.modes.groups)
    for rule in policy.rules:
        mentioned |= {end.name for end in (*rule.sources, *rule.destinations)}
    return frozenset(names & mentioned)


def _by_rules(policy: Policy, zone: str, src: Party, dst: Party, packet: Packet) -> Decision:
    logged: list[str] = []
    for tier in Tier:
        for rule in sorted((r for r in policy.rules if r.tier is tier), key=lambda r: r.order):
            if not _rule_matches(rule, zone, src, dst, packet):
                continue
            if rule.action is Action.LOG:
                logged.append(rule.id)
            elif rule.action is Action.PASS:
                break
            else:
                allowed = rule.action is Action.ALLOW
                return Decision(allowed, rule.id, tier, f"rule {rule.id}: {rule}", tuple(logged))
    return _by_default(policy, zone, src, dst, packet, tuple(logged))


def _rule_matches(rule: Rule, zone: str, src: Party, dst: Party, packet: Packet) -> bool:
    return (
        rule.applies_in(zone)
        and any(is_endpoint(end, src) for end in rule.sources)
        and any(is_endpoint(end, dst) for end in rule.destinations)
        and rule.covers(packet.protocol, point_of(packet))
    )


def is_endpoint(endpoint: RuleEndpoint, who: Party) -> bool:
    """Return whether a rule that names `endpoint` means `who`."""
    match endpoint.kind:
        case RuleEndpointKind.ANY:
            return True
        case RuleEndpointKind.WORKLOADS:
            return who.workload
        case RuleEndpointKind.OUTSIDE:
            return not who.workload
        case RuleEndpointKind.GROUP:
            return endpoint.name in who.groups
        case RuleEndpointKind.NETWORK:
            return endpoint.name in who.networks


def point_of(packet: Packet) -> int:
    """Return the port or ICMP type that services are compared with; 0 when there is none."""
    if packet.protocol in PORT_PROTOCOLS:
        return packet.dport
    return packet.icmp_type if packet.protocol in (ICMP, ICMP6) else 0


def _by_default(
    policy: Policy, zone: str, src: Party, dst: Party, packet: Packet, logged: tuple[str, ...]
) -> Decision:
    inward, outward = modes_of(policy, zone, dst), modes_of(policy, zone, src)
    for side, settings in (("destination", inward), ("source", outward)):
        if any(setting.mode is Mode.FULL for setting in settings):
            return Decision(False, "default/full", None, f"the {side} is in mode full", logged)
    for setting in inward:
        if any(s.covers(packet.protocol, point_of(packet)) for s in setting.services):
            why = "the destination is in mode selective for this service"
            return Decision(False, "default/selective", None, why, logged)
    return Decision(True, "default/visibility", None, "no rule and no mode forbids it", logged)


def modes_of(policy: Policy, zone: str, who: Party) -> list[ModeSetting]:
    """Return the modes that hold for `who`: those of its groups, or else that of the VRF."""
    own = [setting for name, setting in policy.modes.groups.items() if name in who.groups]
    return own or [policy.modes.vrfs.get(zone, policy.modes.default)]
