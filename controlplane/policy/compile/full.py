"""Policy and inventory -> verdict tables, from scratch.

The plain way, against which the incremental one is tested: after any history, the same policy,
inventory and books give the same tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.model.prefix import Prefix
from controlplane.model.verdict import DEFAULT_IDS
from controlplane.model.verdict_tables import Tables
from controlplane.model.workload import Endpoint, Inventory, RemotePrefix
from controlplane.policy.compile.contract import contract_elements
from controlplane.policy.compile.coverage import cover
from controlplane.policy.compile.identity import (
    Identity,
    Membership,
    Memberships,
    agreed,
    relevant_networks,
)
from controlplane.policy.compile.identity_quota import IdentityAllocator, admitted
from controlplane.policy.compile.pairing import (
    CompiledSide,
    ContractBook,
    Pairing,
    RuleBook,
    contract_book,
    rule_book,
)
from controlplane.policy.language.policy import Policy


@dataclass(frozen=True, slots=True)
class IdAllocators:
    """Numbers that outlive a compilation: hand the same books in and little changes."""

    identities: IdentityAllocator = field(default_factory=IdentityAllocator)
    contracts: ContractBook = field(default_factory=contract_book)
    rules: RuleBook = field(default_factory=rule_book)

    def confirm(self) -> None:
        """Note that the kernel holds the tables of all changes made so far."""
        for each in (self.identities, self.contracts, self.rules):
            each.confirm()


@dataclass(frozen=True, slots=True)
class Compiled:
    """Tables and what their numbers stand for."""

    policy: Policy
    tables: Tables
    identities: Mapping[int, Identity]
    rule_ids: Mapping[int, str]


def compile_policy(
    policy: Policy, inventory: Inventory, books: IdAllocators | None = None
) -> Compiled:
    """Return tables for every packet in the inventory's VRFs.

    An identity beyond the quota of its VRF is pending.
    """
    books = books or IdAllocators()
    pairing = Pairing(policy, books.rules, books.contracts)
    for _ in pairing.read():
        pass
    tables = Tables()
    placed = _place(policy, inventory, tables, books.identities)
    _pair(placed, pairing, tables)
    identities = {number: identity for identity, number in placed.items()}
    return Compiled(policy, tables, identities, rule_ids(pairing))


def rule_ids(pairing: Pairing) -> dict[int, str]:
    """Return what rule numbers in verdicts stand for, defaults included."""
    return DEFAULT_IDS | {number: rule.id for number, rule in pairing.rules}


def is_host(prefix: Prefix) -> bool:
    """Return whether a prefix is one address: it goes to a hash, all others to the intervals."""
    return prefix.length == 8 * len(prefix.packed)


def prefixes_of(claimant: Endpoint) -> tuple[Prefix, ...]:
    """Return the prefixes that a workload or remote prefix claims."""
    return (claimant.prefix,) if isinstance(claimant, RemotePrefix) else claimant.addresses


def network_prefixes(policy: Policy, width: int) -> list[tuple[Prefix, str]]:
    """Return prefixes of `width` bytes of the network sets that rules name, with their set's
    name."""
    return [
        (prefix, name)
        for name in sorted(relevant_networks(policy))
        for prefix in policy.networks[name].prefixes
        if len(prefix.packed) == width
    ]


def _claims(policy: Policy, inventory: Inventory) -> dict[str, dict[Prefix, Membership]]:
    memberships = Memberships(policy)
    found: dict[str, dict[Prefix, list[Membership]]] = {zone: {} for zone in inventory.zones}
    for claimant in inventory.claimants():
        membership = memberships.of(claimant)
        for prefix in prefixes_of(claimant):
            found[claimant.vrf].setdefault(prefix, []).append(membership)
    return {
        zone: {prefix: agreed(several) for prefix, several in claims.items()}
        for zone, claims in found.items()
    }


def _place(
    policy: Policy, inventory: Inventory, tables: Tables, numbers: IdentityAllocator
) -> dict[Identity, int]:
    """Fill the address maps; the identities in use, by number."""
    placed: dict[Identity, int] = {}
    networks = {width: network_prefixes(policy, width) for width in (4, 16)}
    for zone, claims in sorted(_claims(policy, inventory).items()):
        for name, key, membership in _elements(zone, claims, networks):
            identity = admitted(Identity(zone, membership), numbers)
            placed[identity] = numbers.assign(identity)
            getattr(tables, name)[key] = placed[identity]
    return placed


def _elements(
    zone: str,
    claims: Mapping[Prefix, Membership],
    networks: Mapping[int, Iterable[tuple[Prefix, str]]],
) -> Iterator[tuple[str, tuple[object, ...], Membership]]:
    for prefix, membership in claims.items():
        if is_host(prefix):
            yield address_map(len(prefix.packed)), (zone, prefix.packed), membership
    for width, named in networks.items():
        wide = {p: m for p, m in claims.items() if len(p.packed) == width and not is_host(p)}
        for (first, last), membership in cover(width, wide, named).items():
            yield range_map(width), (zone, first, last), membership


def address_map(width: int) -> str:
    """Name of the map of single addresses of `width` bytes."""
    return "addresses4" if width == 4 else "addresses6"


def range_map(width: int) -> str:
    """Name of the map of address ranges of `width` bytes."""
    return "ranges4" if width == 4 else "ranges6"


def _pair(placed: Mapping[Identity, int], pairing: Pairing, tables: Tables) -> None:
    zones: dict[str, dict[int, CompiledSide]] = {}
    for identity, number in placed.items():
        zones.setdefault(identity.zone, {})[number] = pairing.side(identity)
    for sides in zones.values():
        for number, side in sides.items():
            tables.destinations[number] = pairing.to_destination(side)
            if (contract := pairing.from_source(side)) is not None:
                tables.sources[number] = contract
        _pair_zone(sides, pairing, tables)
    used = {*tables.pairs.values(), *tables.sources.values(), *tables.destinations.values()}
    for contract in used:
        for name, key, verdict in contract_elements(contract, pairing.contract(contract)):
            getattr(tables, name)[key] = verdict


def _pair_zone(sides: Mapping[int, CompiledSide], pairing: Pairing, tables: Tables) -> None:
    for source, src in sides.items():
        usual = tables.sources.get(source)
        for destination, dst in sides.items():
            contract = pairing.between(src, dst)
            if contract != (usual or tables.destinations[destination]):
                tables.pairs[source, destination] = contract
