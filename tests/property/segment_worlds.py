"""Small random worlds in which everything overlaps.

Few tags, addresses and ports, so that groups share workloads, prefixes nest, ranges cut each
other and packets fall on their edges; large worlds would mostly draw things that never meet.

The generators take a `random.Random`. Hypothesis lends one whose choices it can shrink
(`st.randoms`); a plain seeded one is ten times faster and serves for breadth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from random import Random

from controlplane.model.prefix import IPAddress, Prefix, parse_prefix
from controlplane.model.workload import Endpoint, Inventory, Packet, RemotePrefix, Workload
from controlplane.policy.language.policy import Group, Mode, Modes, ModeSetting, NetworkSet, Policy
from controlplane.policy.language.rule import (
    ANYONE,
    Action,
    Rule,
    RuleEndpoint,
    RuleEndpointKind,
    Tier,
    sorted_endpoints,
)
from controlplane.policy.language.selector import Among, Has, Selector, either, every, negated
from controlplane.policy.language.service import (
    ANY_SERVICE,
    Service,
    sorted_services,
    whole_protocol,
)

ZONES = ("red",) * 5 + ("blue",)
TAG_VALUES = {"env": ("prod", "dev"), "tier": ("web", "app", "db"), "scope": ("pci",)}
GROUPS = ("g1", "g2", "g3", "g4")
NETWORKS = ("n1", "n2", "n3")
GROUP_IDS = {name: 100 + place for place, name in enumerate(GROUPS)}
FOREIGN_ID = 901
"""A group id that no revision has, and one of another revision."""

ADDRESSES: tuple[IPAddress, ...] = tuple(
    ip_address(text)
    for text in (
        *("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
        *("192.0.2.1", "255.255.255.255"),
        *("2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "ffff::1"),
    )
)
HOSTS = tuple(Prefix(address.packed, address.max_prefixlen) for address in ADDRESSES)
WIDE = tuple(
    parse_prefix(text)
    for text in (
        *("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/31", "10.0.0.2/31"),
        *("192.0.2.0/24", "128.0.0.0/1"),
        *("::/0", "2001:db8::/32", "2001:db8::/127", "2001:db8:1::/48"),
    )
)
PORTS = (0, 1, 2, 3, 4, 5, 6, 7, 65534, 65535)
PORTED, PLAIN = (6, 17), (47, 0)
SCTP, UDP_LITE = 132, 136
RARE, RARE_PORTS = (SCTP, UDP_LITE), (2, 5, 65535)
"""Protocols that have ports too, and are seldom drawn."""
BROAD = (ANY_SERVICE, whole_protocol(6), Service(6, 1, 6), Service(17, 2, 65535))
NARROW = (
    *(whole_protocol(SCTP), Service(SCTP, 2, 5), Service(UDP_LITE, 5, 65535)),
    *(whole_protocol(protocol) for protocol in (17, 1, 58, 47)),
    *(Service(1, kind, kind) for kind in (7, 8)),
    *(Service(58, kind, kind) for kind in (8, 9)),
)


def selector(rng: Random, depth: int = 2) -> Selector:
    """A selector over TAG_VALUES, two levels deep at most."""
    shape = rng.randrange(6) if depth else 0
    if shape == 1:
        return negated(selector(rng, depth - 1))
    if shape in (2, 3):
        join = every if shape == 2 else either
        return join([selector(rng, depth - 1) for _ in range(rng.randint(1, 3))])
    key = rng.choice(tuple(TAG_VALUES))
    if shape == 4:
        return Has(key)
    values = TAG_VALUES[key]
    return Among(key, frozenset(rng.choice(values) for _ in range(rng.randint(1, 3))))


def services(rng: Random) -> tuple[Service, ...]:
    """One to three services."""
    return sorted_services(_service(rng) for _ in range(rng.choice((1, 1, 2, 3))))


def _service(rng: Random) -> Service:
    kind = rng.randrange(6)
    if kind < 3:
        return rng.choice(BROAD)
    if kind == 3:
        return rng.choice(NARROW)
    low, high = sorted((rng.choice(PORTS), rng.choice(PORTS)))
    return Service(rng.choice(PORTED), low, high if kind == 4 else low)


def endpoints(rng: Random) -> tuple[RuleEndpoint, ...]:
    """One to three endpoints, groups for the most part."""
    return sorted_endpoints(_endpoint(rng) for _ in range(rng.choice((1, 2, 3, 4))))


def _endpoint(rng: Random) -> RuleEndpoint:
    kind = rng.randrange(12)
    if kind < 7:
        return RuleEndpoint(RuleEndpointKind.GROUP, rng.choice(GROUPS))
    if kind < 10:
        return RuleEndpoint(RuleEndpointKind.NETWORK, rng.choice(NETWORKS))
    return (ANYONE, RuleEndpoint(RuleEndpointKind(rng.choice(("workloads", "outside")))))[kind - 10]


def rules(rng: Random) -> tuple[Rule, ...]:
    """Up to 14 rules in few tiers: pass and order matter only among neighbours."""
    tiers = rng.sample(tuple(Tier), rng.randint(1, 3))
    found = [
        _rule(rng, rng.choice(tiers), order) for order in range(rng.choice((1, 6, 10, 15, 20)))
    ]
    return tuple(sorted(found, key=lambda rule: rule.rank))


def _rule(rng: Random, tier: Tier, order: int) -> Rule:
    return Rule(
        f"{tier}/{order}",
        tier,
        order,
        rng.choice(tuple(Action)),
        endpoints(rng),
        endpoints(rng),
        services(rng),
        frozenset() if rng.randrange(5) else frozenset({rng.choice(ZONES)}),
    )


def _setting(rng: Random) -> ModeSetting:
    mode = rng.choice(tuple(Mode))
    return ModeSetting(mode, services(rng) if mode is Mode.SELECTIVE else ())


def _settings(rng: Random, names: tuple[str, ...]) -> dict[str, ModeSetting]:
    return {rng.choice(names): _setting(rng) for _ in range(rng.randint(0, 2))}


def policy(rng: Random) -> Policy:
    """A policy over GROUPS and NETWORKS, all of them declared."""
    groups = {name: Group(name, GROUP_IDS[name], selector(rng)) for name in GROUPS}
    networks = {
        name: NetworkSet(name, tuple(sorted(set(rng.choices(WIDE + HOSTS, k=rng.randint(1, 3))))))
        for name in NETWORKS
    }
    modes = Modes(_setting(rng), _settings(rng, ZONES), _settings(rng, GROUPS))
    return Policy(groups, networks, modes, rules(rng))


def claimant(rng: Random) -> Endpoint:
    """A workload (of few names, so that they replace each other) or a remote prefix."""
    zone = rng.choice(ZONES)
    if rng.randrange(4):
        name = rng.choice("abcdefgh")
        addresses = {_claimed(rng) for _ in range(rng.randint(1, 3))}
        return Workload(name, zone, f"port-{name}", tuple(sorted(addresses)), _tags(rng))
    ids = frozenset(rng.choice((*GROUP_IDS.values(), FOREIGN_ID)) for _ in range(rng.randint(0, 2)))
    groups = rng.choice((*(ids,) * 8, None))
    return RemotePrefix(zone, _claimed(rng), groups)


def _claimed(rng: Random) -> Prefix:
    return rng.choice(rng.choice((WIDE, HOSTS)))


def _tags(rng: Random) -> dict[str, str]:
    return {key: rng.choice(values) for key, values in TAG_VALUES.items() if rng.randrange(4)}


def claimants(rng: Random, most: int = 10) -> list[Endpoint]:
    """Up to `most` claimants; later ones replace earlier ones of the same key."""
    return [claimant(rng) for _ in range(rng.randint(most // 2, most))]


def workloads_apart(rng: Random) -> list[Workload]:
    """Workloads of which no two have the same prefix."""
    taken, found = set(), []
    for number, each in enumerate(claimants(rng, 20)):
        if isinstance(each, Workload):
            own = tuple(p for p in each.addresses if (each.vrf, p) not in taken)
            taken |= {(each.vrf, p) for p in own}
            found.append(replace(each, name=f"w{number}", addresses=own))
    return [each for each in found if each.addresses]


def inventory_of(claimed: list[Endpoint]) -> Inventory:
    """An inventory of the last claimant under each key."""
    last = {each.key: each for each in claimed}.values()
    return Inventory(
        frozenset(ZONES),
        tuple(each for each in last if isinstance(each, Workload)),
        tuple(each for each in last if isinstance(each, RemotePrefix)),
    )


@dataclass(frozen=True)
class Probe:
    """One packet, where it is seen and between whom."""

    zone: str
    source: IPAddress
    destination: IPAddress
    packet: Packet


def _packets(family: int) -> tuple[Packet, ...]:
    ported = [Packet(family, protocol, dport=port) for protocol in PORTED for port in PORTS]
    ported += [Packet(family, protocol, dport=port) for protocol in RARE for port in RARE_PORTS]
    own, foreign = (1, 58) if family == 4 else (58, 1)
    typed = [Packet(family, own, icmp_type=kind) for kind in (7, 8, 9, 10)]
    plain = [Packet(family, protocol) for protocol in PLAIN]
    return (*ported, *typed, Packet(family, foreign, icmp_type=8), *plain)


PACKETS = {4: _packets(4), 6: _packets(6)}


def probes(rng: Random, pairs: int = 8) -> list[Probe]:
    """Pairs of addresses, each with a third of all packets of its family."""
    found = []
    for _ in range(pairs):
        source = rng.choice(ADDRESSES)
        own = [address for address in ADDRESSES if address.version == source.version]
        destination, zone = rng.choice(own), rng.choice(ZONES)
        packets = PACKETS[source.version][rng.randrange(3) :: 3]
        found += [Probe(zone, source, destination, packet) for packet in packets]
    return found
