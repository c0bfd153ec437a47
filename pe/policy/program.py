"""Chains and maps that judge packets, for the VRFs under policy. Pure.

A packet's way, in FORWARD (from a CE) and in OUTPUT (from the core to a CE, kernel-facts T3):

* Its connection is allowed already, by the enforced tables as they are (the code of this boot in
  the connection's mark, and the epoch of the tables): accept. That is all that most packets meet. A
  connection that was never judged, or that another program marked, is judged now, however old it
  is. One that former tables allowed is judged once more, by the tables that took their place: what
  they forbid ends with its next packet.
* Its zone is that of a VRF under policy: ``vrf_N``. What the PE itself says is no business of
  a policy's.
* It has no connection (ICMP of odd types, what TCP cannot make sense of), but its VRF is under
  policy: ``untracked_N``, judged by itself, packet by packet.
* It comes from a VRF without policy, but goes straight to a port of one that is under policy,
  because a route leaks: likewise ``untracked_N``. Its connection is in no zone of the VRF that it
  enters.
* Before all that, in PREROUTING: what comes from a port with an address that is bound to
  another port, or to another PE, is dropped, with or without a connection (SPF-3). What comes from
  the core with an address that is bound to a port here may not open a flow either.
* Else accept: the guards, later in the same hooks, refuse a packet of a VRF under policy with
  neither mark. So without this table, or with a broken one, new flows are denied.

The look-ups are in lookup.py, and what is done with a verdict in logging.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.model.verdict_tables import Slot
from pe.model.mark_code import ANY_BOOT, MarkCode
from pe.nft import expression as x
from pe.nft.model import Chain, Hook, NamedSet, Rule, Table, TableId
from pe.policy import logging, older
from pe.policy.lookup import KEEP, PREFIX, VERDICT_MAPS, keep, lookups, settled
from pe.policy.reading import ANSWER, IPV6, OPENED, PACKET, PROTOCOLS, REOPENED

TABLE = TableId("inet", "bulkhead_segment")
PRIORITIES = {"prerouting": -290, "forward": 2**31 - 2, "output": 2**31 - 2}
"""Of each hook. Source bindings are checked after fragments were put together (-400) and before
connection tracking (-200) looks at a packet. Policy comes right before the guards, the last in
their hooks (pe.filters.parts), which check that we judged: other programs change marks before."""

READINGS = {Slot.ENFORCED: (OPENED, REOPENED, PACKET, ANSWER), Slot.STAGED: (OPENED,)}
"""What packets are read as; older flows are no concern of a staged revision's."""
VRF_KIND = b"vrf".ljust(16, b"\0")
LOCAL = x.host32(2)
"""RTN_LOCAL, as the fib expression has it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the program depends on: the zones of the VRFs under policy, and whether a revision
    is staged."""

    zones: frozenset[int] = frozenset()
    staged: bool = False
    epoch: int = 0
    """Of the enforced tables: connections that were judged in another one are judged again."""
    code: MarkCode = ANY_BOOT


GATES: Mapping[str, NamedSet] = {
    "zones": NamedSet(("zone",), "verdict"),
    "zones_out": NamedSet(("zone",), "verdict"),
    "vrfs": NamedSet(("ifname",), "verdict"),
    "ports_out": NamedSet(("ifname",), "verdict"),
    "ports_in": NamedSet(("ifname",), "verdict"),
}
"""Which packets are under policy, by the zone of their connection or by their device."""

BINDINGS: Mapping[str, NamedSet] = {
    "bindings4": NamedSet(("mark", "ipv4_addr"), "mark"),
    "bindings6": NamedSet(("mark", "ipv6_addr"), "mark"),
    "binding_ranges4": NamedSet(("mark", "ipv4_addr"), "mark", interval=True),
    "binding_ranges6": NamedSet(("mark", "ipv6_addr"), "mark", interval=True),
    "binding_ports": NamedSet(("mark", "ifname"), "mark"),
    "port_bindings4": NamedSet(("iface_index", "ipv4_addr"), "mark"),
    "port_bindings6": NamedSet(("iface_index", "ipv6_addr"), "mark"),
}
"""Zone and address -> number of the port that it is bound to; which port has which number; and the
single addresses once more with the indexes of their ports, so that what comes from its own port is
let through after one look-up of few bytes: every packet has to go there."""

COUNTERS = ("judged", "denied", "log_dropped", "staged_denied", "spoofed")
"""Per zone: new flows judged; those denied; those not logged because they were too many; and
those that the staged revision would have denied. Packets without a connection count if denied.
``spoofed``: packets dropped because their source address is bound elsewhere."""


def program(layout: Layout) -> Table:
    """The program for some VRFs, its maps empty; an empty table when there are none."""
    if not layout.zones:
        return Table()
    chains = of_epoch(layout.code, layout.epoch) | {"prerouting": _entry()}
    for zone in sorted(layout.zones):
        chains |= _zone(zone, layout)
    maps = {**GATES, **BINDINGS}
    for slot, prefix in PREFIX.items():
        if slot is Slot.ENFORCED or layout.staged:
            for reading in READINGS[slot]:
                chains |= dict(lookups(slot, reading))
            maps |= {prefix + name: kind for name, kind in VERDICT_MAPS.items()}
    counters = frozenset(f"{name}_{zone}" for name in COUNTERS for zone in layout.zones)
    return Table(chains, maps, counters)


def of_epoch(code: MarkCode, epoch: int) -> dict[str, Chain]:
    """The chains that an epoch is in. A new one changes no others, however many VRFs there are."""
    through = settled(code, epoch)
    into = (x.meta("oifname", 0), x.lookup_verdict("ports_out", 0))
    from_ce = (
        (x.ct("zone", 0), x.lookup_verdict("zones", 0)),
        (x.meta("iifname", 0), x.lookup_verdict("vrfs", 0)),
    )
    from_core = (x.ct("zone", 0), x.lookup_verdict("zones_out", 0))
    return {
        KEEP: Chain(tuple(keep(code, epoch))),
        "forward": Chain((through, *from_ce, into), _hook("forward")),
        "output": Chain((through, from_core, into), _hook("output")),
    }


def _entry() -> Chain:
    """Sources that are bound elsewhere go no further."""
    # Packets come by twice, the second time out of the VRF's own device.
    again: Rule = (x.meta("iifkind", 0), x.equal(0, VRF_KIND), x.verdict("accept"))
    at_port: Rule = (x.meta("iifname", 0), x.lookup_verdict("ports_in", 0))
    bound = (_at_own_port(4), _at_own_port(6))
    return Chain((again, *bound, at_port), _hook("prerouting"))


def _hook(name: str) -> Hook:
    return Hook(name, PRIORITIES[name])


def _at_own_port(version: int) -> Rule:
    """Port and source: most packets are where they belong. (There is no ``ct zone`` before
    connection tracking: the kernel has only a template then.)"""
    return (
        x.meta("nfproto", 0),
        x.equal(0, PROTOCOLS[version]),
        x.meta("iif", 0),
        PACKET.address(version, "saddr", 1),
        x.lookup(f"port_bindings{version}", 0, 0),
        x.verdict("accept"),
    )


def _zone(zone: int, layout: Layout) -> dict[str, Chain]:
    # What the PE itself sends to a CE: routing sessions, ICMP errors.
    own = (x.local_source(0), x.equal(0, LOCAL), x.verdict("accept"))
    bound: Rule = (x.verdict("jump", f"binding_out_{zone}"),)
    return {
        **dict(logging.chains(zone, layout.code, staged=layout.staged)),
        **dict(older.chains(zone, layout.code)),
        f"vrf_out_{zone}": Chain((own, bound, (x.verdict("goto", f"vrf_{zone}"),))),
        f"untracked_out_{zone}": Chain((own, bound, (x.verdict("goto", f"untracked_{zone}"),))),
        **dict(_bindings(zone)),
    }


def _bindings(zone: int) -> Iterator[tuple[str, Chain]]:
    """Whether a source comes from where it is bound; back if so, or if it is not bound at all."""
    away = (x.counter(f"spoofed_{zone}"), x.verdict("drop"))
    port, device = x.meta("priority", 0), x.meta("iifname", 1)
    settled: Rule = (port, device, x.lookup("binding_ports", 0, 0), *_back())
    yield f"bound_{zone}", Chain((settled, away))
    # From the core comes what is bound elsewhere.
    elsewhere: Rule = (x.meta("priority", 0), x.zero(0), x.verdict("return"))
    yield f"bound_out_{zone}", Chain((elsewhere, away))
    for name, then in (
        (f"binding_{zone}", f"bound_{zone}"),
        (f"binding_out_{zone}", f"bound_out_{zone}"),
    ):
        six = (x.meta("nfproto", 0), x.equal(0, IPV6), x.verdict("goto", f"{name}_6"))
        yield name, Chain((six, *_binding(zone, 4, then)))
        yield f"{name}_6", Chain(tuple(_binding(zone, 6, then)))


def _binding(zone: int, version: int, then: str) -> Iterator[Rule]:
    """Zone and source -> number of a port, in the priority: the mark is taken, it leads an IPv6
    Packet Too Big back into its VPN (pe.filters.too_big)."""
    source = PACKET.address(version, "saddr", 1)
    go = (x.set_meta("priority", 0), x.verdict("goto", then))
    for name in (f"bindings{version}", f"binding_ranges{version}"):
        yield (x.constant(zone, 0), source, x.lookup(name, 0, 0), *go)


def _back() -> Rule:
    return (x.constant(0, 0), x.set_meta("priority", 0), x.verdict("return"))
