"""The kernel settings (sysctl) of a node, with the reason for each.

Paths are relative to /proc/sys/net. Every row is checked every few seconds and set again when
something else changed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from controlplane.model.desired import Desired
from pe.model.guards import Guard
from pe.netlink.ownership import BLACKHOLE


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl and the value it must have; ``at_least`` where more is as good.

    ``optional`` ones exist in some kernels or in the initial namespace only. ``opens`` ones let
    packets through: they are written after everything that guards them (FAIL-7).
    """

    path: str
    value: str
    at_least: bool = False
    optional: bool = False
    opens: bool = False

    def holds(self, seen: str | None) -> bool:
        """True if the value seen (None: there is no such file) needs no change."""
        if seen is None:
            return self.optional
        if self.at_least and seen.lstrip("-").isdigit():
            return int(seen) >= int(self.value)
        return seen == self.value


# (path, value, guard that switches it off, why)
_NODE: tuple[tuple[str, str, Guard | None, str], ...] = (
    ("ipv4/ip_forward", "1", None, "it is a router"),
    ("ipv6/conf/all/forwarding", "1", None, "it is a router"),
    ("ipv4/conf/all/rp_filter", "0", None, "max(all, port) counts: leave it to the ports (SPF-2)"),
    ("ipv4/conf/default/rp_filter", "0", None, "nor on ports to come"),
    ("ipv4/tcp_l3mdev_accept", "0", Guard.SOCKETS, "no listener is reachable from a VRF (ISO-10)"),
    ("ipv4/udp_l3mdev_accept", "0", Guard.SOCKETS, "ISO-10"),
    ("ipv4/raw_l3mdev_accept", "0", Guard.SOCKETS, "ISO-10; the kernel's default is 1"),
    ("ipv4/nexthop_compat_mode", "0", None, "replacing a next hop sends no event per route"),
    ("ipv6/fwmark_reflect", "1", None, "Packet Too Big finds its VRF (pe.filters.too_big)"),
    ("mpls/ip_ttl_propagate", "0", Guard.PIPE_MODE, "pipe mode (HIDE-1; RFC 3443)"),
    ("mpls/default_ttl", "255", Guard.PIPE_MODE, "HIDE-1"),
    (
        "ipv4/conf/all/send_redirects",
        "0",
        Guard.PORT_SYSCTLS,
        "a port redirects if it or `all` says so: the port's own setting is not enough (HIDE-9)",
    ),
    ("ipv4/conf/default/send_redirects", "0", Guard.PORT_SYSCTLS, "nor on ports to come"),
    ("ipv4/icmp_echo_ignore_broadcasts", "1", None, "no smurf amplification"),
    # A port does each of these if it or `all` says so (IN_DEV_ORCONF); `default` is for new ones.
    ("ipv4/conf/all/proxy_arp", "0", Guard.PORT_SYSCTLS, "HIDE-5"),
    ("ipv4/conf/default/proxy_arp", "0", Guard.PORT_SYSCTLS, "HIDE-5"),
    ("ipv4/conf/all/route_localnet", "0", Guard.PORT_SYSCTLS, "127/8 is no address of a link"),
    ("ipv4/conf/default/route_localnet", "0", Guard.PORT_SYSCTLS, "nor on ports to come"),
    ("ipv4/conf/all/bc_forwarding", "0", Guard.PORT_SYSCTLS, "no directed broadcast (RFC 2644)"),
    ("ipv4/conf/default/bc_forwarding", "0", Guard.PORT_SYSCTLS, "nor on ports to come"),
    ("ipv6/conf/all/proxy_ndp", "0", Guard.PORT_SYSCTLS, "HIDE-5"),
    ("ipv6/conf/default/proxy_ndp", "0", Guard.PORT_SYSCTLS, "HIDE-5"),
    ("ipv6/conf/default/seg6_enabled", "0", Guard.PORT_SYSCTLS, "a CE routes by no segment list"),
    ("ipv6/conf/all/accept_ra", "0", None, "a router learns no default from a CE (HIDE-9)"),
    ("ipv6/conf/default/accept_ra", "0", None, "nor on ports to come"),
)

_OF_SOME_KERNELS = ("/seg6_enabled", "/bc_forwarding")
_FORWARDING = frozenset({"ipv4/ip_forward", "ipv6/conf/all/forwarding"})

_CE_PORT: tuple[tuple[str, str, str], ...] = (
    ("ipv4/conf/{}/arp_ignore", "1", "answer for this port's own address only (T13, HIDE-5)"),
    ("ipv4/conf/{}/arp_announce", "2", "ask with this port's own address (HIDE-5)"),
    ("ipv4/conf/{}/proxy_arp", "0", "HIDE-9"),
    ("ipv4/conf/{}/proxy_arp_pvlan", "0", "HIDE-9"),
    ("ipv4/conf/{}/route_localnet", "0", "127/8 is no address of a link (FAIL-9)"),
    ("ipv4/conf/{}/bc_forwarding", "0", "no directed broadcast (SPF-5, RFC 2644)"),
    ("ipv6/conf/{}/seg6_enabled", "0", "a CE routes by no segment list (FAIL-9)"),
    ("ipv4/conf/{}/send_redirects", "0", "HIDE-9"),
    ("ipv4/conf/{}/accept_redirects", "0", "HIDE-9"),
    ("ipv4/conf/{}/secure_redirects", "0", "HIDE-9"),
    ("ipv4/conf/{}/accept_source_route", "0", "HIDE-4"),
    ("ipv4/conf/{}/rp_filter", "0", "sources are checked by the edge guard, both families (SPF-2)"),
    ("ipv4/conf/{}/forwarding", "1", "the port forwards"),
    ("ipv6/conf/{}/accept_ra", "0", "HIDE-9"),
    ("ipv6/conf/{}/accept_redirects", "0", "HIDE-9"),
    ("ipv6/conf/{}/accept_source_route", "-1", "HIDE-4; RFC 5095"),
    ("ipv6/conf/{}/autoconf", "0", "HIDE-9"),
    ("ipv6/conf/{}/proxy_ndp", "0", "HIDE-5"),
    ("ipv6/conf/{}/forwarding", "1", "the port forwards"),
    ("ipv6/conf/{}/accept_dad", "0", "addresses are the configured ones and usable at once"),
    ("ipv6/conf/{}/keep_addr_on_down", "1", "addresses survive enslaving and a lost carrier"),
)

_CORE_PORT: tuple[tuple[str, str, str], ...] = (
    ("ipv4/conf/{}/accept_source_route", "0", "HIDE-4"),
    ("ipv4/conf/{}/rp_filter", "0", "labelled and IP paths through the core differ"),
    ("ipv4/conf/{}/forwarding", "1", "the port forwards"),
    ("ipv6/conf/{}/forwarding", "1", "the port forwards"),
    ("ipv6/conf/{}/accept_ra", "0", "a core port has its configured addresses only"),
    ("ipv6/conf/{}/keep_addr_on_down", "1", "addresses survive a lost carrier"),
)

_NEIGHBOURS: tuple[tuple[str, str], ...] = (
    # The neighbour table is one for all VRFs (T14). Readable in the initial namespace only.
    ("ipv4/neigh/default/gc_thresh1", "4096"),
    ("ipv4/neigh/default/gc_thresh2", "16384"),
    ("ipv4/neigh/default/gc_thresh3", "32768"),
    ("ipv6/neigh/default/gc_thresh1", "4096"),
    ("ipv6/neigh/default/gc_thresh2", "16384"),
    ("ipv6/neigh/default/gc_thresh3", "32768"),
)


def settings(
    desired: Desired, devices: Iterable[str], disabled: frozenset[Guard]
) -> dict[str, Setting]:
    """Return every setting of the node by path. ``devices``: those that exist, ours or not."""
    rows = [*node_settings(desired, disabled)]
    for name in sorted(devices):
        rows += device_settings(name, desired, disabled)
    return {row.path: row for row in rows}


def device_settings(name: str, desired: Desired, disabled: frozenset[Guard]) -> tuple[Setting, ...]:
    """Return the settings of one device, ours or not."""
    is_ce = name in desired.ce_ports and Guard.PORT_SYSCTLS not in disabled
    labels_anywhere = Guard.LABEL_INPUT in disabled
    is_core, takes_ipv6 = name in desired.core_ports, _takes_ipv6(name, desired)
    return _device(name, is_ce, is_core, takes_ipv6, labels_anywhere)


def _takes_ipv6(name: str, desired: Desired) -> bool:
    """Return True where IPv6 has to be on, even if the default of new devices is off: on ports with
    an IPv6 address, and on the devices that the node makes for the routes of both families."""
    port = desired.ce_ports.get(name) or desired.core_ports.get(name)
    if port is not None:
        return any(interface.version == 6 for interface in port.addresses)
    return name in desired.vrfs or (name == BLACKHOLE and bool(desired.vrfs))


@lru_cache(maxsize=8192)
def _device(
    name: str, is_ce: bool, is_core: bool, takes_ipv6: bool, labels_anywhere: bool
) -> tuple[Setting, ...]:
    # The label table is one for all ports, so it is closed on every device that is not core:
    # loopback too, where an open one would look labels up twice (T8, T10, LBL-17). Tunnels
    # without an MPLS device of their own (sit, ip6tnl) have no such setting.
    is_open = is_core or labels_anywhere
    label_input = Setting(f"mpls/conf/{name}/input", str(int(is_open)), optional=not is_core)
    rows = _CE_PORT if is_ce else _CORE_PORT if is_core else ()
    # Before the others: without IPv6 the kernel refuses an address (inet6_addr_add: EACCES). The
    # file is missing where the kernel has no IPv6 at all, or the MTU is too small for it.
    ipv6 = Setting(f"ipv6/conf/{name}/disable_ipv6", "0", optional=True)
    return (
        label_input,
        *((ipv6,) if takes_ipv6 else ()),
        *(
            Setting(path.format(name), value, optional=path.endswith(_OF_SOME_KERNELS))
            for path, value, _ in rows
        ),
    )


def node_settings(desired: Desired, disabled: frozenset[Guard]) -> Iterator[Setting]:
    """Yield the settings of the node as a whole, with the defaults of new devices."""
    # First of all: a device that appears between here and the rest inherits these.
    for path, value, guard, _ in _NODE:
        if guard not in disabled:
            optional = path.endswith(_OF_SOME_KERNELS)
            yield Setting(path, value, optional=optional, opens=path in _FORWARDING)
    for path, value in _NEIGHBOURS:
        yield Setting(path, value, at_least=True, optional=True)
    if desired.node:
        labels = str(desired.node.platform_labels)
        # A smaller value would delete other programs' label routes; a larger one does no harm.
        yield Setting("mpls/platform_labels", labels, at_least=True)
    if desired.vrfs:
        yield Setting("vrf/strict_mode", "1", optional=True)  # one VRF, one table (ISO-1)
