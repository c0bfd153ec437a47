"""What each counter of ``pe show counters`` means; its metric is ``bulkhead_NAME_total``."""

from __future__ import annotations

MEANINGS = {
    "kernel_routes_written": "Routes put into the kernel, changed or removed.",
    "kernel_routes_refused": "Routes that the kernel refused.",
    "kernel_next_hop_changes": "Changes of next-hop objects, each for all routes that use it.",
    "kernel_drift_repaired": "What somebody else had changed in the kernel and was put right.",
    "kernel_failures": "Requests that the kernel refused.",
    "bgp_updates_malformed": "Malformed UPDATEs of a neighbour, handled as RFC 7606 has it.",
    "speaker_restarts": "Times that a VRF's BGP process was lost.",
    "api_calls": "Calls of the API, by how they ended.",
    "part_failures": "Unexpected exceptions, by the part of the node that raised them.",
    "audit_lines": "Number of the last line of the audit log, 0 before this process wrote one.",
    "audit_failures": "Lines of the audit log that could not be written; the call was refused.",
    "journal_lines_dropped": "Lines that nobody read in time.",
    "flow_telemetry_lost": "Flows that were seen and cannot be told about.",
    "identity_quota_reached": "Times that a VRF reached its quota of sets of groups.",
    "flow_log_failures": "Failed attempts to read the flow log: another process has its group.",
    "flow_log_foreign": "Log entries in Bulkhead's nflog groups that no rule of it made.",
    "segment_drift_repaired": "Verdict tables that somebody else had changed and were put right.",
    "segment_packets_judged": "Packets that a policy judged: the first of each flow.",
    "segment_packets_denied": "Packets that a policy dropped.",
    "segment_packets_staged_denied": "Packets that the staged policy would have dropped.",
    "segment_packets_displaced": "Packets dropped: who has their source lives elsewhere.",
    "segment_packets_untold": "Packets judged that were too many to be logged.",
}


def meaning(name: str) -> str:
    """A sentence for HELP."""
    return MEANINGS[name]
