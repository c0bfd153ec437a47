"""Collect the counters of all parts of the node, by the API's names.

Names are those of ``pe.metrics.counters``, where each has its meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.model.view import CounterView
from controlplane.policy.controller import PolicyController
from controlplane.speaker.pool import SpeakerPool
from pe.policy.manager import PolicyMapManager
from pe.supervisor import Supervisor


def speaker_counters(speakers: SpeakerPool) -> Iterator[CounterView]:
    """Yield the counters of the BGP processes; the VRF "" is the core."""
    for vrf, restarts in sorted(speakers.restarts().items()):
        yield CounterView(name="speaker_restarts", value=restarts, labels={"vrf": vrf})
    for session in speakers.snapshot():
        labels = {"vrf": session.peer.vrf, "neighbor": str(session.peer.address)}
        yield CounterView(name="bgp_updates_malformed", value=session.malformed, labels=labels)
        yield CounterView(name="bgp_routes_too_large", value=session.too_large, labels=labels)


def api_counters(tally: RpcMetrics) -> Iterator[CounterView]:
    """Yield API calls by method and status code."""
    for (method, code), count in sorted(tally.calls.items()):
        yield CounterView(name="api_calls", value=count, labels={"method": method, "code": code})
    yield CounterView(name="audit_lines", value=tally.audit_line)
    yield CounterView(name="audit_failures", value=tally.audit_failures)


def part_counters(supervisor: Supervisor) -> Iterator[CounterView]:
    """Yield unexpected exceptions, by the part of the node that raised them."""
    for part in supervisor.parts:
        labels = {"part": part.policy.name}
        yield CounterView(name="part_failures", value=part.failures, labels=labels)


def segment_counters(policy: PolicyController, maps: PolicyMapManager) -> Iterator[CounterView]:
    """Yield the counters of microsegmentation: lost telemetry, and evaluated packets per VRF."""
    yield CounterView(name="flow_telemetry_lost", value=policy.book.lost)
    yield CounterView(name="logged_flows_left_out", value=policy.logged_flows.left_out)
    yield CounterView(name="identity_quota_reached", value=policy.quota_reached)
    flows = maps.flow_log
    yield CounterView(name="flow_log_failures", value=flows.failures)
    yield CounterView(name="flow_log_foreign", value=flows.foreign)
    yield CounterView(name="segment_drift_repaired", value=maps.repairs)
    yield from judged(maps.counters(), maps.vrfs_by_zone())


def judged(counters: Mapping[str, int], vrfs: Mapping[int, str]) -> Iterator[CounterView]:
    """Yield the kernel's counters, such as ``staged_denied_16001`` (the zone's number)."""
    for name, packets in sorted(counters.items()):
        kind, _, zone = name.rpartition("_")
        if zone.isdigit() and (vrf := vrfs.get(int(zone))):
            labels = {"vrf": vrf}
            yield CounterView(name=f"segment_packets_{kind}", value=packets, labels=labels)
