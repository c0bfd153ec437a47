"""Policies and workloads of given sizes."""

from __future__ import annotations

import functools
from ipaddress import IPv4Address

from controlplane.model.prefix import host_prefix
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict_tables import Tables
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.full import IdAllocators, compile_policy, prefixes_of
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import Policy
from perf.segment_node import CE_PORT, VRF

FIRST = int(IPv4Address("10.1.0.0"))
ALLOWED, DENIED = 5000, 6000
TIER_PORT = 20_000
"""A tier's own UDP port is this one plus its number."""
TIERS = 50
ADDRESSES = 5
"""Of each workload."""
SIZES = {10: (1, 1), 1000: (180, 8), 50_000: (10_000, TIERS)}
"""About so many elements -> workloads and tiers; how many they are is counted."""


def document(tiers: int = TIERS) -> str:
    """Default deny, and a rule for each tier: what everybody may ask of it."""
    lines = ["modes: {default: full}", "rules:"]
    for tier in range(tiers):
        ports = f"udp/{ALLOWED}, udp/{TIER_PORT + tier}, tcp/{2000 + 10 * tier}-{2005 + 10 * tier}"
        lines.append(f"  - allow role=any to tier=t{tier} on {ports}")
    return "\n".join(lines) + "\n"


@functools.cache
def policy(tiers: int = TIERS) -> Policy:
    """That document, read."""
    return parse_policy(document(tiers))


def workload(number: int, tier: int) -> Workload:
    """One of them, with its addresses in a row."""
    first = number * ADDRESSES
    prefixes = tuple(host_prefix(IPv4Address(address(first + n))) for n in range(ADDRESSES))
    return Workload(f"w{number}", VRF, CE_PORT, prefixes, {"role": "any", "tier": f"t{tier}"})


def inventory(workloads: int, tiers: int = TIERS) -> Inventory:
    """So many workloads, all in one VRF."""
    made = tuple(workload(number, number % tiers) for number in range(workloads))
    return Inventory(frozenset({VRF}), made)


def address(number: int) -> str:
    """An address of theirs, by its number."""
    return str(IPv4Address(FIRST + number))


@functools.cache
def tables(workloads: int, tiers: int = TIERS) -> Tables:
    """Their tables. Shared: not to be changed."""
    made = inventory(workloads, tiers)
    return compile_policy(policy(tiers), made, IdAllocators()).tables


def source_bindings(workloads: int) -> SourceBindings:
    """Return their source bindings: all behind the one port."""
    made = inventory(workloads).claimants()
    return SourceBindings(
        {(VRF, prefix.packed): CE_PORT for each in made for prefix in prefixes_of(each)}
    )
