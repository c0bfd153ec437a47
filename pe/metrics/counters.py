"""Give the help text of each counter of ``pe show counters`` (``bulkhead_NAME_total``)."""

from __future__ import annotations

MEANINGS = {
    "kernel_routes_written": "Routes added to, changed in or removed from the kernel.",
    "kernel_routes_refused": "Routes that the kernel refused.",
    "kernel_next_hop_changes": "Changes of next-hop objects, each for all routes that use it.",
    "kernel_drift_repaired": "Kernel objects changed by another program and repaired.",
    "kernel_failures": "Requests that the kernel refused.",
    "bgp_updates_malformed": "Malformed UPDATEs of a neighbour, handled as RFC 7606 demands.",
    "bgp_routes_too_large": "Routes withdrawn because their attributes fit no UPDATE.",
    "speaker_restarts": "Unexpected exits of a VRF's BGP process.",
    "api_calls": "API calls, by status code.",
    "part_failures": "Unexpected exceptions, by the part of the node that raised them.",
    "audit_lines": "Number of the last line of the audit log, 0 before this process wrote one.",
    "audit_failures": "Lines of the audit log that could not be written; the call was refused.",
    "journal_lines_dropped": "Journal lines dropped because the reader was too slow.",
    "tcp_md5_missing": "TCP segments dropped for a missing MD5 signature, of all sessions.",
    "tcp_md5_unexpected": "TCP segments dropped for an MD5 signature where no key is configured.",
    "tcp_md5_wrong": "TCP segments dropped for a wrong MD5 signature: the keys differ.",
    "flow_telemetry_lost": "Flow records lost before export.",
    "logged_flows_left_out": "Flows that a log rule matched and that have no journal line.",
    "identity_quota_reached": "Times that a VRF reached its quota of sets of groups.",
    "flow_log_failures": "Failed attempts to read the flow log: another process has its group.",
    "flow_log_foreign": "Log entries in Bulkhead's nflog groups that another rule made.",
    "segment_drift_repaired": "Policy tables changed by another program and repaired.",
    "segment_packets_judged": "Packets evaluated by the policy: the first of each flow.",
    "segment_packets_denied": "Packets dropped by the policy.",
    "segment_packets_staged_denied": "Packets that the staged revision would drop.",
    "segment_packets_spoofed": "Packets dropped: their source is bound to another port.",
    "segment_packets_log_dropped": "Packets evaluated but not logged because of the rate limit.",
}


def meaning(name: str) -> str:
    """Return the HELP text of a counter."""
    return MEANINGS[name]
