"""Asks the host's own kernel what a lab needs, by doing it in a scratch namespace."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass

MODULES = ("vrf", "mpls_router", "mpls_iptunnel", "nf_tables", "nft_ct", "nf_conntrack", "veth")

# Each is tried in a network namespace of its own that is gone afterwards. `ip nexthop`
# with an MPLS encapsulation needs the module mpls_iptunnel, not mpls_router alone.
_TRIALS = (
    ("VRF devices", "ip link add probe type vrf table 10"),
    ("MPLS forwarding", "echo 1000 >/proc/sys/net/mpls/platform_labels"),
    (
        "MPLS encapsulation and next-hop objects",
        "ip link add probe type dummy && ip link set probe up && ip addr add 192.0.2.1/24 dev"
        " probe && ip nexthop add id 1 encap mpls 100/200 via 192.0.2.2 dev probe",
    ),
    (
        "nftables at netdev ingress and egress",
        """ip link add probe type dummy && nft -f - <<'END'
        table netdev probe {
            chain in { type filter hook ingress device probe priority 0; }
            chain out { type filter hook egress device probe priority 0; }
        }
END""",
    ),
    (
        "conntrack zones by interface",
        """nft -f - <<'END'
        table inet probe {
            chain zone {
                type filter hook prerouting priority raw;
                ct zone set iifname map { "red": 1 }
            }
        }
END""",
    ),
    ("virtual Ethernet pairs", "ip link add probe type veth peer name other"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a lab needs, whether the kernel does it, and what it answered."""

    capability: str
    present: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class HostKernel:
    """What was found out about the kernel that we run on."""

    release: str
    findings: tuple[Finding, ...]

    @property
    def sufficient(self) -> bool:
        """Whether labs can run on it."""
        return all(finding.present for finding in self.findings)

    @property
    def lacks(self) -> str:
        """The capabilities it does not have, for a sentence."""
        return ", ".join(finding.capability for finding in self.findings if not finding.present)


def host_kernel() -> HostKernel:
    """Try everything that a lab needs, loading modules first; needs root to find it present."""
    if os.geteuid() == 0:
        _load_modules()
        findings = tuple(_try(capability, script) for capability, script in _TRIALS)
    else:
        findings = (Finding("root", False, "network namespaces need root"),)
    return HostKernel(platform.release(), findings)


def _load_modules() -> None:
    # One by one: a single call stops at the first module that a kernel does not have.
    for module in MODULES:
        with contextlib.suppress(OSError):
            subprocess.run(["modprobe", "--quiet", module], capture_output=True, check=False)


def _try(capability: str, script: str) -> Finding:
    try:
        tried = subprocess.run(
            ["unshare", "--net", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(capability, False, str(error))
    said = (tried.stderr.strip().splitlines() or [""])[0]
    return Finding(capability, tried.returncode == 0, said or "works")
