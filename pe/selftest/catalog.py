"""List the requirements of docs/security.md: those that a self-test tries, and why not others."""

from __future__ import annotations

_SESSION = "of a BGP session: a selftest has no neighbour to speak to"
_API = "of the API and the process, not of packets"
_CLOSE = "would use up what all VPNs of the node share"
_POLICY = "a selftest's VPNs are under no policy"
_OVER_TIME = "shows only when the node is killed, restarted or meddled with"
_INTERNET = "a selftest has no Internet port"

TRIED = frozenset(
    f"{area}-{number}"
    for area, numbers in {
        "ISO": (1, 2, 3, 10, 12),
        "HIDE": (1, 2, 3, 4, 5, 7, 9),
        "ACL": range(1, 7),
        "CPP": (1, 2),
        "BGP": (3, 10),
        "LBL": (1, 2, 3, 4, *range(6, 15), 16, 17),
        "SPF": (1, 2, 4),
        "TRN": (1, 3),
        "FAIL": (1,),
    }.items()
    for number in numbers
)

NOT_TESTED: dict[str, str] = {
    "ISO-4": _SESSION,
    "ISO-5": _SESSION,
    "ISO-6": _SESSION,
    "ISO-7": _SESSION,
    "ISO-8": "a selftest's VPNs are not tracked: tracking would be switched on for other VPNs",
    "ISO-9": "a selftest's VPNs are not tracked: fragments are not reassembled there",
    "ISO-11": "labels of a selftest are not advertised and need no hold-down",
    "ISO-13": _POLICY,
    "ISO-14": "a selftest's remote sites are behind a labelled path",
    "ISO-15": _OVER_TIME,
    "ISO-16": _POLICY,
    "HIDE-6": _SESSION,
    "HIDE-8": "a selftest's ports are numbered",
    "ACL-7": "shows only when a neighbour is added or removed",
    "ACL-8": "of the core's own addresses, which a selftest leaves alone",
    "CPP-3": "by the counters of the others here",
    "CPP-4": _CLOSE,
    "CPP-5": _CLOSE,
    "CPP-7": "of the kernel's count of fragments, which other VPNs change as well",
    "CPP-6": "of the process's limits, not of packets",
    **{f"BGP-{n}": _SESSION for n in (1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)},
    "LBL-5": "a selftest has no bridge",
    "LBL-15": _OVER_TIME,
    "SPF-3": _POLICY,
    "SPF-5": "a selftest's remote sites send to hosts",
    "SPF-6": _POLICY,
    "SPF-7": _POLICY,
    "INET-1": _INTERNET,
    "INET-2": _SESSION,
    "INET-3": _INTERNET,
    "INET-4": _INTERNET,
    **{f"MGMT-{n}": _API for n in range(1, 12)},
    "TRN-2": _POLICY,
    **{f"DOS-{n}": _CLOSE for n in range(1, 10)},
    **{f"FAIL-{n}": _OVER_TIME for n in range(2, 9)},
}
