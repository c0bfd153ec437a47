"""Ask the running kernel for what a node cannot do without, and change nothing.

Each question is a request that the kernel refuses, and with another error where it does not know
what is asked for. It loads a module for such a request if there is one, as for the node's own
(``rtnl_newlink``, ``lwtunnel_valid_encap_type``, ``nfnetlink_rcv_msg``).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER

_NEWLINK, _DELROUTE = 16, 25
_CREATE_ONLY = 0x600
"""NLM_F_CREATE and NLM_F_EXCL."""
_IFNAME, _LINKINFO, _INFO_KIND = 3, 18, 1
_DESTINATION, _TABLE, _ENCAP_TYPE = 1, 15, 21
_NO_TABLE = 0xFFFFFFF0
"""A routing table that nothing uses."""
_MPLS = 1
"""LWTUNNEL_ENCAP_MPLS."""
_NF_TABLES, _GET_GENERATION = 10, 16
_LABELS = Path("/proc/sys/net/mpls/platform_labels")


@dataclass(frozen=True, slots=True)
class Need:
    """What a node needs of the kernel, and the module and option that have it."""

    what: str
    module: str
    option: str
    is_there: Callable[[], bool]

    def __str__(self) -> str:
        return (
            f"this kernel has no {self.what} (module {self.module}, {self.option}):"
            f" `modprobe {self.module}`, and at each start a line {self.module} in"
            " /etc/modules-load.d/bulkhead.conf; where there is no such module, install a kernel"
            " that has it (on Ubuntu the package linux-modules-extra-VERSION)"
        )


def missing() -> Iterator[Need]:
    """Yield what this kernel has not. Raises PermissionError without CAP_NET_ADMIN."""
    return (need for need in NEEDS if not need.is_there())


def has_device_kind(kind: str) -> bool:
    """Return whether devices of a kind can be made, by one without the table that it needs."""
    info = nl.nested(_LINKINFO, nl.attribute(_INFO_KIND, kind.encode() + b"\0"))
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + nl.attribute(_IFNAME, b"bulkhead-ask\0") + info
    return _refusal(socket.NETLINK_ROUTE, _NEWLINK, _CREATE_ONLY, body) != errno.EOPNOTSUPP


def has_encapsulation(number: int) -> bool:
    """Return whether routes can have an encapsulation, by removing one that is not there."""
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    body = (
        head + nl.attribute(_DESTINATION, socket.inet_aton("192.0.2.1"))
        + nl.u32(_TABLE, _NO_TABLE) + nl.attribute(_ENCAP_TYPE, struct.pack("=H", number))
    )  # fmt: skip
    return _refusal(socket.NETLINK_ROUTE, _DELROUTE, 0, body) not in (
        errno.EOPNOTSUPP,
        errno.EINVAL,
    )


def has_netfilter(subsystem: int) -> bool:
    """Return whether netfilter has a subsystem; asks for the number of its last change."""
    kind, body = subsystem << 8 | _GET_GENERATION, struct.pack("=BBH", 0, 0, 0)
    try:
        return _refusal(NETLINK_NETFILTER, kind, 0, body) != errno.EINVAL
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:  # no netfilter netlink at all
            return False
        raise


def _refusal(family: int, kind: int, flags: int, body: bytes) -> int:
    """Return the error number with which the kernel refuses a request, 0 if it does not."""
    with contextlib.closing(nl.NetlinkSocket(family)) as sock:
        try:
            sock.request(kind, flags, body)
        except nl.KernelRefusedError as error:
            if error.errno == errno.EPERM:
                raise PermissionError(errno.EPERM, "needs CAP_NET_ADMIN") from error
            return error.errno or 0
    return 0


NEEDS = (
    Need("VRF devices", "vrf", "CONFIG_NET_VRF", lambda: has_device_kind("vrf")),
    Need(
        "MPLS encapsulation of routes", "mpls_iptunnel", "CONFIG_MPLS_IPTUNNEL",
        lambda: has_encapsulation(_MPLS),
    ),
    Need("MPLS forwarding", "mpls_router", "CONFIG_MPLS_ROUTING", _LABELS.exists),
    Need("nftables", "nf_tables", "CONFIG_NF_TABLES", lambda: has_netfilter(_NF_TABLES)),
)  # fmt: skip
"""In this order: the module of the encapsulation brings that of forwarding."""
