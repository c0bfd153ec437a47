"""Counters in the words of the API."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.desired import Desired
from controlplane.model.view import CounterView, GuardView
from pe.fib.manager import FibManager
from pe.model.state import Failures
from pe.nft.names import name as nft_name
from pe.nft.reader import CounterView as KernelCounter

LIMITS = frozenset({"cpp_01", "dos_01", "dos_02"})
"""Requirements whose guard drops what is too much, not all."""


def guard_views(counters: Iterable[KernelCounter], desired: Desired) -> list[GuardView]:
    """Each named counter with the port or VRF that it is about, in the order of requirements."""
    ports = {nft_name(n): n for n in [*desired.ce_ports, *desired.core_ports]}
    vrfs = {nft_name(n): n for n in desired.vrfs}
    return [
        GuardView(
            requirement=counter.requirement.upper().replace("_0", "-").replace("_", "-"),
            name=counter.name,
            action="limit" if counter.requirement in LIMITS else "drop",
            packets=counter.packets,
            bytes=counter.bytes,
            vrf=_home(ports.get(counter.subject, ""), desired) or vrfs.get(counter.subject, ""),
            port=ports.get(counter.subject, ""),
            traffic_class=counter.traffic,
            family=counter.family,
        )
        for counter in sorted(counters, key=lambda c: c.name)
    ]


def _home(port: str, desired: Desired) -> str:
    return desired.ce_ports[port].vrf if port in desired.ce_ports else ""


def agent_counters(forwarding: FibManager, failures: Failures, repairs: int) -> list[CounterView]:
    """What the agent counts about itself."""
    return [
        CounterView(name="kernel_routes_written", value=forwarding.written),
        CounterView(name="kernel_routes_refused", value=forwarding.refused),
        CounterView(name="kernel_next_hop_changes", value=forwarding.path_changes),
        CounterView(name="kernel_drift_repaired", value=repairs),
        CounterView(name="kernel_failures", value=failures.total),
    ]
