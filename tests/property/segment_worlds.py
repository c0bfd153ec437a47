"""Hypothesis strategies for small worlds in which everything overlaps.

Few tags, addresses and ports, so that groups share workloads, prefixes nest, ranges cut each
other and packets fall on their edges; large worlds would mostly draw things that never meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from hypothesis import strategies as st

from controlplane.model.prefix import IPAddress, Prefix, parse_prefix
from controlplane.segment.policy import Group, Mode, Modes, ModeSetting, NetworkSet, Policy
from controlplane.segment.rule import (
    TIER_RANK,
    Action,
    Endpoint,
    EndpointKind,
    Rule,
    Tier,
    sorted_endpoints,
)
from controlplane.segment.selector import Among, Has, Selector, either, every, negated
from controlplane.segment.service import ANY_SERVICE, Service, sorted_services, whole_protocol
from controlplane.segment.workload import Claimant, Inventory, Packet, RemotePrefix, Workload

ZONES = ("blue", "red")
TAG_VALUES = {"env": ("prod", "dev"), "tier": ("web", "app", "db"), "scope": ("pci",)}
GROUPS = ("g1", "g2", "g3", "g4")
NETWORKS = ("n1", "n2", "n3")
GROUP_IDS = {name: 100 + place for place, name in enumerate(GROUPS)}
UNKNOWN_ID, FOREIGN_ID = 900, 901
"""A group id of nobody, and one of another revision."""

ADDRESSES: tuple[IPAddress, ...] = tuple(
    ip_address(text)
    for text in (
        *(f"10.0.0.{last}" for last in range(8)),
        *("10.0.1.1", "192.0.2.1", "255.255.255.255", "0.0.0.0"),
        *(f"2001:db8::{last}" for last in range(4)),
        *("2001:db8:1::1", "::", "ffff::1"),
    )
)
HOSTS = tuple(Prefix(address.packed, address.max_prefixlen) for address in ADDRESSES)
WIDE = tuple(
    parse_prefix(text)
    for text in (
        *("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/31", "10.0.0.2/31"),
        *("10.0.0.6/31", "192.0.2.0/24", "128.0.0.0/1"),
        *("::/0", "2001:db8::/32", "2001:db8::/127", "2001:db8::2/127", "2001:db8:1::/48"),
    )
)
PORTS = (0, 1, 2, 3, 4, 5, 6, 7, 65534, 65535)
PORTED, TYPED, PLAIN = (6, 17), (1, 58), (47, 0)

tags = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values) for key, values in TAG_VALUES.items()}
)


@st.composite
def _comparisons(draw: st.DrawFn) -> Selector:
    key = draw(st.sampled_from(sorted(TAG_VALUES)))
    if draw(st.integers(0, 4)) == 0:
        return Has(key)
    return Among(key, draw(st.frozensets(st.sampled_from(TAG_VALUES[key]), min_size=1)))


selectors: st.SearchStrategy[Selector] = st.recursive(
    _comparisons(),
    lambda inner: st.one_of(
        inner.map(negated),
        st.lists(inner, min_size=1, max_size=3).map(every),
        st.lists(inner, min_size=1, max_size=3).map(either),
    ),
    max_leaves=4,
)


def _ranged(low: int, high: int, protocol: int) -> Service:
    return Service(protocol, min(low, high), max(low, high))


services = st.one_of(
    st.builds(_ranged, st.sampled_from(PORTS), st.sampled_from(PORTS), st.sampled_from(PORTED)),
    st.builds(lambda p, port: Service(p, port, port), st.sampled_from(PORTED), st.integers(0, 7)),
    st.builds(lambda p, kind: Service(p, kind, kind), st.sampled_from(TYPED), st.integers(7, 9)),
    st.sampled_from((*PORTED, *TYPED, 47)).map(whole_protocol),
    st.just(ANY_SERVICE),
)
service_lists = st.lists(services, min_size=1, max_size=3).map(sorted_services)

endpoints = st.one_of(
    st.sampled_from([Endpoint(EndpointKind.GROUP, name) for name in GROUPS]),
    st.sampled_from([Endpoint(EndpointKind.NETWORK, name) for name in NETWORKS]),
    st.sampled_from([Endpoint(EndpointKind(k)) for k in ("any", "workloads", "outside")]),
)
endpoint_lists = st.lists(endpoints, min_size=1, max_size=2).map(sorted_endpoints)


@st.composite
def _settings(draw: st.DrawFn) -> ModeSetting:
    mode = draw(st.sampled_from(Mode))
    return ModeSetting(mode, draw(service_lists) if mode is Mode.SELECTIVE else ())


modes = st.builds(
    Modes,
    default=_settings(),
    vrfs=st.dictionaries(st.sampled_from(ZONES), _settings(), max_size=2),
    groups=st.dictionaries(st.sampled_from(GROUPS), _settings(), max_size=2),
)


@st.composite
def _rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    # Few tiers with many rules each: pass and order matter only among neighbours.
    tiers = draw(st.lists(st.sampled_from(Tier), min_size=1, max_size=3, unique=True))
    found = []
    for order in range(draw(st.integers(0, 9))):
        tier = draw(st.sampled_from(tiers))
        rule = Rule(
            f"{tier}/{order}",
            tier,
            order,
            draw(st.sampled_from(Action)),
            draw(endpoint_lists),
            draw(endpoint_lists),
            draw(service_lists),
            draw(st.sampled_from((frozenset(), frozenset(), frozenset({"red"})))),
        )
        found.append(rule)
    return tuple(sorted(found, key=lambda rule: (TIER_RANK[rule.tier], rule.order)))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy over GROUPS and NETWORKS, all of them declared."""
    groups = {name: Group(name, GROUP_IDS[name], draw(selectors)) for name in GROUPS}
    prefixes = st.lists(st.sampled_from(WIDE + HOSTS), max_size=3, unique=True)
    networks = {n: NetworkSet(n, tuple(sorted(draw(prefixes)))) for n in NETWORKS}
    return Policy(groups, networks, draw(modes), draw(_rules()))


_claimed = st.one_of(st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from(WIDE))
_ids = st.frozensets(st.sampled_from((*GROUP_IDS.values(), FOREIGN_ID)), max_size=2)


@st.composite
def workloads(draw: st.DrawFn, names: tuple[str, ...] = tuple("abcdef")) -> Workload:
    """A workload with a name out of `names`."""
    addresses = tuple(draw(st.lists(_claimed, max_size=3, unique=True)))
    name = draw(st.sampled_from(names))
    return Workload(name, draw(st.sampled_from(ZONES)), f"port-{name}", addresses, draw(tags))


_remote_groups = st.one_of(_ids, _ids, st.none(), st.just(frozenset({UNKNOWN_ID})))
remotes = st.builds(RemotePrefix, st.sampled_from(ZONES), _claimed, _remote_groups)

claimants: st.SearchStrategy[Claimant] = st.one_of(workloads(), workloads(), remotes)


def inventory_of(claimed: list[Claimant]) -> Inventory:
    """An inventory of the last claimant under each key."""
    last = {claimant.key: claimant for claimant in claimed}.values()
    return Inventory(
        frozenset(ZONES),
        tuple(c for c in last if isinstance(c, Workload)),
        tuple(c for c in last if isinstance(c, RemotePrefix)),
        frozenset({FOREIGN_ID}),
    )


inventories = st.lists(claimants, max_size=8).map(inventory_of)


@dataclass(frozen=True)
class Probe:
    """One packet, where it is seen and between whom."""

    zone: str
    source: IPAddress
    destination: IPAddress
    packet: Packet


def _packets(family: int) -> tuple[Packet, ...]:
    ported = [Packet(family, protocol, dport=port) for protocol in PORTED for port in PORTS]
    typed = [Packet(family, protocol, icmp_type=kind) for protocol in TYPED for kind in (7, 8, 9)]
    return (*ported, *typed, *(Packet(family, protocol) for protocol in PLAIN))


PACKETS = {4: _packets(4), 6: _packets(6)}


PER_PAIR = 9
"""Packets per pair of addresses: a third of all, a different third for each pair."""


@st.composite
def probe_lists(draw: st.DrawFn) -> list[Probe]:
    """Some eighty probes: pairs of addresses crossed with packets, both families."""
    found = []
    for family in (4, 6):
        own = [address for address in ADDRESSES if address.version == family]
        pairs = st.tuples(st.sampled_from(own), st.sampled_from(own), st.sampled_from(ZONES))
        for source, destination, zone in draw(st.lists(pairs, min_size=3, max_size=6)):
            start = draw(st.integers(0, 2))
            packets = PACKETS[family][start::3][:PER_PAIR]
            found += [Probe(zone, source, destination, packet) for packet in packets]
    return found
