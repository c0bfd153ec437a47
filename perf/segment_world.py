"""Policies and workloads of given sizes."""

from __future__ import annotations

import functools
from ipaddress import IPv4Address

from controlplane.model.prefix import host_prefix
from controlplane.segment.compile import Books, compile_policy
from controlplane.segment.document import parse_policy
from controlplane.segment.policy import Policy
from controlplane.segment.tables import Tables
from controlplane.segment.workload import Inventory, Workload
from perf.segment_node import VRF

FIRST = int(IPv4Address("10.1.0.0"))
ALLOWED, DENIED = 5000, 6000
TIERS = 50
ADDRESSES = 5
"""Of each workload."""


def policy() -> Policy:
    """Default deny, and a rule for each tier: what senders may ask of it, among forty services."""
    lines = ["modes: {default: full}", "rules:"]
    for tier in range(TIERS):
        ports = f"udp/{ALLOWED}, tcp/{1000 + tier}, tcp/{2000 + 10 * tier}-{2005 + 10 * tier}"
        lines.append(f"  - allow role=any to tier=t{tier} on {ports}")
    return parse_policy("\n".join(lines))


def workload(number: int, *, tier: int | None = None) -> Workload:
    """One of them, with its addresses in a row."""
    first = FIRST + number * ADDRESSES
    addresses = tuple(host_prefix(IPv4Address(first + n)) for n in range(ADDRESSES))
    tags = {"role": "any", "tier": f"t{number % TIERS if tier is None else tier}"}
    return Workload(f"w{number}", VRF, "pe-gen", addresses, tags)


def inventory(workloads: int) -> Inventory:
    """So many workloads, all in one VRF."""
    return Inventory(frozenset({VRF}), tuple(workload(n) for n in range(workloads)))


def last_address(workloads: int) -> str:
    """The last address of so many workloads."""
    return str(IPv4Address(FIRST + workloads * ADDRESSES - 1))


@functools.cache
def tables(workloads: int) -> Tables:
    """Their tables. Shared: not to be changed."""
    return compile_policy(policy(), inventory(workloads), Books()).tables
