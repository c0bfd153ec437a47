"""Define the marks by which a restarted process recognizes its own objects in the kernel.

Routes, next hops, label routes and rules carry ``PROTOCOL``; next hops also lie in an id range
of their own, since all programs share one namespace of ids. Devices carry an alias. nftables
objects live in tables named ``TABLE``. Addresses on core ports carry ``PROTOCOL`` as IFA_PROTO.
"""

from __future__ import annotations

PROTOCOL = 198
"""rtm_protocol. iproute2's rt_protos names 186 to 196 (bgp to eigrp); 198 has no name there."""

FIRST_NEXT_HOP = 0xB0000000
LAST_NEXT_HOP = 0xBFFFFFEF
FIRST_BLACKHOLE = 0xBFFFFFF0
"""The range of next-hop ids, and above it (plus the number of the family) the two blackhole next
hops. FRR counts from 1 up; ids given by hand are small as well."""

TABLE = "bulkhead"
"""The name of our nftables tables in every family."""

VRF_ALIAS = "bulkhead:vrf"
PORT_ALIAS = "bulkhead:port"
BLACKHOLE_ALIAS = "bulkhead:void"
"""IFLA_IFALIAS of the devices that we made."""

BLACKHOLE = "bulkhead-void"
"""The dummy device of the blackhole next hops; it drops every packet. A next hop uses it while it
has no other path (``pe.fib.next_hops``)."""

BLACKHOLE_MTU = 65535
"""In bytes: larger than any packet, because the kernel must never report this MTU to a sender."""

UNREACHABLE_METRIC = 4278198272
"""Metric of the last resort in a VRF's table: behind every real route (kernel Documentation,
networking/vrf.rst)."""

ROUTE_METRIC = 1198
"""Metric of our routes, in both families: behind the kernel's connected routes (0 and 256), and
used by no other program, so that replacing a route replaces one of ours."""

LOCAL_PREFERENCE = 32765
"""Where the ``local`` table is looked up: after the l3mdev rule (1000), before ``main``."""

MARK_PREFERENCE = 999
"""Preference of our rules that select a VRF's table by mark (``pe.filters.too_big``)."""

L3MDEV_PREFERENCE = 1000
"""Where the kernel puts the rule that sends VRF traffic to its table (vrf_fib_rule)."""
