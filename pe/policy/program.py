"""Chains and maps that judge packets, for the VRFs under policy. Pure.

A packet's way, in FORWARD (from a CE) and in OUTPUT (from the core to a CE, kernel-facts T3):

* Its connection is allowed already (bit 31 of the connection's mark): accept. That is all that
  most packets meet. A connection that was never judged is judged now, whatever its age.
* Its zone is that of a VRF under policy: ``vrf_N``. What the PE itself says is no business of
  a policy's.
* It has no connection (ICMP of odd types, what TCP cannot make sense of), but its VRF is under
  policy: ``stray_N``, judged by itself, packet by packet.
* It comes from a VRF without policy, but goes straight to a port of one that is under policy,
  because a route leaks: likewise a stray. Nobody follows its connection in the VRF it enters.
* Before all that, in PREROUTING: what comes from a port with the address of somebody who lives
  behind another port, or at another PE, is dropped, whatever its connection (SPF-3). What comes
  from the core with the address of somebody who lives here may not open a flow either.
* Else accept: the guards, later in the same hooks, refuse a packet of a VRF under policy with
  neither mark. So without this table, or with a broken one, new flows are denied.

The look-ups are in judge.py, and what is done with a verdict in telling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.model.verdict_tables import Slot
from pe.nft import expression as x
from pe.nft.model import Chain, Hook, NamedSet, Rule, Table, TableId
from pe.policy import logging as telling
from pe.policy.lookup import ADDRESSES, IPV6, PREFIX, PROTOCOLS, VERDICT_MAPS, allowed, lookups

TABLE = TableId("inet", "bulkhead_segment")
PRIORITIES = {"prerouting": -290, "forward": -10, "output": -10}
"""Of each hook. Homes are looked at after fragments were put together (-400) and before
connection tracking (-200) hears of a packet; policy comes before the guards (filter, 0), which
check that we judged."""

VRF_KIND = b"vrf".ljust(16, b"\0")
LOCAL = x.host32(2)
"""RTN_LOCAL, as the fib expression has it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the program depends on: the zones of the VRFs under policy, and whether a revision
    is staged."""

    zones: frozenset[int] = frozenset()
    staged: bool = False


GATES: Mapping[str, NamedSet] = {
    "zones": NamedSet(("zone",), "verdict"),
    "zones_out": NamedSet(("zone",), "verdict"),
    "vrfs": NamedSet(("ifname",), "verdict"),
    "ports_out": NamedSet(("ifname",), "verdict"),
    "ports_in": NamedSet(("ifname",), "verdict"),
}
"""Which packets are under policy, by the zone of their connection or by their device."""

HOMES: Mapping[str, NamedSet] = {
    "homes4": NamedSet(("mark", "ipv4_addr"), "mark"),
    "homes6": NamedSet(("mark", "ipv6_addr"), "mark"),
    "home_ranges4": NamedSet(("mark", "ipv4_addr"), "mark", interval=True),
    "home_ranges6": NamedSet(("mark", "ipv6_addr"), "mark", interval=True),
    "home_ports": NamedSet(("mark", "ifname"), "mark"),
    "at_home4": NamedSet(("iface_index", "ipv4_addr"), "mark"),
    "at_home6": NamedSet(("iface_index", "ipv6_addr"), "mark"),
}
"""Zone and address -> number of the port behind which it lives; which port has which number; and
the single addresses once more with the indexes of their ports, so that what comes from where it
lives is let through after one look-up of few bytes: every packet has to go there."""

COUNTERS = ("judged", "denied", "untold", "staged_denied", "displaced")
"""Per zone: new flows judged; those denied; those not logged because they were too many; and
those that the staged revision would have denied. Packets without a connection count if denied.
``displaced``: packets dropped because whoever has their source address lives elsewhere."""


def program(layout: Layout) -> Table:
    """The program for some VRFs, its maps empty; an empty table when there are none."""
    if not layout.zones:
        return Table()
    chains = dict(_gates())
    for zone in sorted(layout.zones):
        chains |= _zone(zone, staged=layout.staged)
    maps = {**GATES, **HOMES}
    for slot, prefix in PREFIX.items():
        if slot is Slot.ENFORCED or layout.staged:
            chains |= {prefix + name: chain for name, chain in lookups(prefix)}
            maps |= {prefix + name: kind for name, kind in VERDICT_MAPS.items()}
    counters = frozenset(f"{name}_{zone}" for name in COUNTERS for zone in layout.zones)
    return Table(chains, maps, counters)


def _gates() -> Iterator[tuple[str, Chain]]:
    settled = allowed(x.ct("mark", 0))
    into = (x.meta("oifname", 0), x.lookup_verdict("ports_out", 0))
    from_ce = (
        (x.ct("zone", 0), x.lookup_verdict("zones", 0)),
        (x.meta("iifname", 0), x.lookup_verdict("vrfs", 0)),
    )
    yield "forward", Chain((settled, *from_ce, into), _hook("forward"))
    from_core = (x.ct("zone", 0), x.lookup_verdict("zones_out", 0))
    yield "output", Chain((settled, from_core, into), _hook("output"))
    # Packets come by twice, the second time out of the VRF's own device.
    again: Rule = (x.meta("iifkind", 0), x.equal(0, VRF_KIND), x.verdict("accept"))
    at_port: Rule = (x.meta("iifname", 0), x.lookup_verdict("ports_in", 0))
    homes = (_at_home(4), _at_home(6))
    yield "prerouting", Chain((again, *homes, at_port), _hook("prerouting"))


def _hook(name: str) -> Hook:
    return Hook(name, PRIORITIES[name])


def _at_home(version: int) -> Rule:
    """Port and source: most packets are where they belong. (There is no ``ct zone`` before
    connection tracking: the kernel does not tell it of a template.)"""
    return (
        x.meta("nfproto", 0),
        x.equal(0, PROTOCOLS[version]),
        x.meta("iif", 0),
        x.network_header(f"ip{version} saddr", *ADDRESSES[version, "saddr"], 1),
        x.lookup(f"at_home{version}", 0, 0),
        x.verdict("accept"),
    )


def _zone(zone: int, *, staged: bool) -> dict[str, Chain]:
    # What the PE itself sends to a CE: routing sessions, ICMP errors.
    own = (x.local_source(0), x.equal(0, LOCAL), x.verdict("accept"))
    at_home: Rule = (x.verdict("jump", f"home_out_{zone}"),)
    return {
        **dict(telling.chains(zone, staged=staged)),
        f"vrf_out_{zone}": Chain((own, at_home, (x.verdict("goto", f"vrf_{zone}"),))),
        f"stray_out_{zone}": Chain((own, at_home, (x.verdict("goto", f"stray_{zone}"),))),
        **dict(_homes(zone)),
    }


def _homes(zone: int) -> Iterator[tuple[str, Chain]]:
    """Whether a source is where it lives; back if so, or if it lives nowhere in particular."""
    away = (x.counter(f"displaced_{zone}"), x.verdict("drop"))
    port, device = x.meta("priority", 0), x.meta("iifname", 1)
    settled: Rule = (port, device, x.lookup("home_ports", 0, 0), *_back())
    yield f"at_{zone}", Chain((settled, away))
    # From the core comes who lives elsewhere.
    elsewhere: Rule = (x.meta("priority", 0), x.zero(0), x.verdict("return"))
    yield f"at_out_{zone}", Chain((elsewhere, away))
    for name, then in ((f"home_{zone}", f"at_{zone}"), (f"home_out_{zone}", f"at_out_{zone}")):
        six = (x.meta("nfproto", 0), x.equal(0, IPV6), x.verdict("goto", f"{name}_6"))
        yield name, Chain((six, *_home(zone, 4, then)))
        yield f"{name}_6", Chain(tuple(_home(zone, 6, then)))


def _home(zone: int, version: int, then: str) -> Iterator[Rule]:
    """Zone and source -> number of a port, in the priority: the mark is taken, it leads an IPv6
    Packet Too Big back into its VPN (pe.filters.too_big)."""
    source = x.network_header(f"ip{version} saddr", *ADDRESSES[version, "saddr"], 1)
    go = (x.set_meta("priority", 0), x.verdict("goto", then))
    for name in (f"homes{version}", f"home_ranges{version}"):
        yield (x.constant(zone, 0), source, x.lookup(name, 0, 0), *go)


def _back() -> Rule:
    return (x.constant(0, 0), x.set_meta("priority", 0), x.verdict("return"))
