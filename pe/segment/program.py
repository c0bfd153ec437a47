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

Judging follows controlplane.segment.tables. The mark holds first the zone, then the destination's
identity, then the contract, then the verdict; the priority holds the source's identity. The mark
of a connection is the verdict that opened it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.segment.enforcer import Slot
from controlplane.segment.service import ICMP, ICMP6
from controlplane.segment.verdict import ALLOW_BIT, BY_MALFORMED, BY_ZONE, LOG_BIT, Verdict
from pe.segment import expression as x
from pe.segment.expression import Expression

TABLE = "bulkhead_segment"
HOOKS = {"prerouting": (0, -290), "forward": (2, -10), "output": (3, -10)}
"""Number and priority. Homes are looked at after fragments were put together (-400) and before
connection tracking (-200) hears of a packet; policy comes before the guards (filter, 0), which
check that we judged."""

FLOW_GROUP, STAGED_GROUP = 5, 6
"""The nflog groups of new flows: with the enforced verdict, and once more with the staged one."""
AWAITED = "+"
"""Ends the prefix of an entry that has another one in the group of staged verdicts."""
SNAP = 112
"""Bytes of a packet that are logged: an IPv6 header, some extensions, and the ports."""
LOG_BATCH = 32
TOLD_PER_SECOND, NOTED_PER_SECOND = 20_000, 2_000
"""Of a VRF: beyond that flows are counted and not logged, so that one cannot drown the others.
Flows that a log rule asks for have a share of their own."""

ADDRESSES = {
    (4, "saddr"): (12, 4),
    (4, "daddr"): (16, 4),
    (6, "saddr"): (8, 16),
    (6, "daddr"): (24, 16),
}
"""Offset and size in the IP header."""
PROTOCOLS = {4: b"\x02", 6: b"\x0a"}
IPV6 = PROTOCOLS[6]
VRF_KIND = b"vrf".ljust(16, b"\0")
LOCAL = x.host32(2)
"""RTN_LOCAL, as the fib expression has it."""

Rule = tuple[Expression, ...]

FIELDS = {
    "mark": (19, 4),
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "icmp_type": (14, 1),
    "ifname": (41, 16),
    "ifindex": (20, 4),
    "zone": (4, 2),
}
"""Parts of keys: the nft program's number for the type, and bytes."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; ``hook`` is "" for one that is only gone to."""

    rules: tuple[Rule, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """A map from fields to 32-bit numbers, or to verdicts. ``interval``: from first to last."""

    fields: tuple[str, ...]
    interval: bool = False
    verdicts: bool = False

    @property
    def sizes(self) -> list[int]:
        """Bytes of each field."""
        return [FIELDS[name][1] for name in self.fields]

    @property
    def key_length(self) -> int:
        """Bytes of a key as it lies in registers: of several fields each is padded to four."""
        sizes = self.sizes
        return sizes[0] if len(sizes) == 1 else sum(size + 3 & ~3 for size in sizes)

    @property
    def key_type(self) -> int:
        """The nft program's number for the key, so that ``nft list`` shows it readably."""
        found = 0
        for name in self.fields:
            found = found << 6 | FIELDS[name][0]
        return found


@dataclass(frozen=True, slots=True)
class Program:
    """Everything in our table but the elements of the maps."""

    chains: Mapping[str, Chain] = field(default_factory=dict)
    maps: Mapping[str, Map] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Layout:
    """What the program depends on: the zones of the VRFs under policy, and whether a revision
    is staged."""

    zones: frozenset[int] = frozenset()
    staged: bool = False


VERDICT_MAPS: Mapping[str, Map] = {
    "addresses4": Map(("mark", "ipv4_addr")),
    "addresses6": Map(("mark", "ipv6_addr")),
    "ranges4": Map(("mark", "ipv4_addr"), interval=True),
    "ranges6": Map(("mark", "ipv6_addr"), interval=True),
    "pairs": Map(("mark", "mark")),
    "sources": Map(("mark",)),
    "destinations": Map(("mark",)),
    "contracts": Map(("mark",)),
    "protocols": Map(("mark", "inet_proto")),
    "ports": Map(("mark", "inet_proto", "inet_service")),
    "port_ranges": Map(("mark", "inet_proto", "inet_service"), interval=True),
    "icmp": Map(("mark", "inet_proto", "icmp_type")),
}
"""One map for each of Tables, under the same name; a slot's prefix goes before it."""

GATES: Mapping[str, Map] = {
    "zones": Map(("zone",), verdicts=True),
    "zones_out": Map(("zone",), verdicts=True),
    "vrfs": Map(("ifname",), verdicts=True),
    "ports_out": Map(("ifname",), verdicts=True),
    "ports_in": Map(("ifname",), verdicts=True),
}
"""Which packets are under policy, by the zone of their connection or by their device."""

HOMES: Mapping[str, Map] = {
    "homes4": Map(("mark", "ipv4_addr")),
    "homes6": Map(("mark", "ipv6_addr")),
    "home_ranges4": Map(("mark", "ipv4_addr"), interval=True),
    "home_ranges6": Map(("mark", "ipv6_addr"), interval=True),
    "home_ports": Map(("mark", "ifname")),
    "at_home4": Map(("zone", "ifindex", "ipv4_addr")),
    "at_home6": Map(("zone", "ifindex", "ipv6_addr")),
}
"""Zone and address -> number of the port behind which it lives; which port has which number; and
the single addresses once more with the indexes of their ports, so that what comes from where it
lives is let through after one look-up of few bytes: every packet has to go there."""

PREFIX = {Slot.ENFORCED: "e_", Slot.STAGED: "s_"}
COUNTERS = ("judged", "denied", "untold", "staged_denied", "displaced")
"""Per zone: new flows judged; those denied; those not logged because they were too many; and
those that the staged revision would have denied. Packets without a connection count if denied.
``displaced``: packets dropped because whoever has their source address lives elsewhere."""


def program(layout: Layout) -> Program:
    """The program for some VRFs; empty when there are none."""
    if not layout.zones:
        return Program()
    chains = dict(_gates())
    for zone in sorted(layout.zones):
        chains |= _zone(zone, staged=layout.staged)
    maps = {**GATES, **HOMES}
    for slot, prefix in PREFIX.items():
        if slot is Slot.ENFORCED or layout.staged:
            chains |= {prefix + name: chain for name, chain in _judge(prefix)}
            maps |= {prefix + name: kind for name, kind in VERDICT_MAPS.items()}
    counters = frozenset(f"{name}_{zone}" for name in COUNTERS for zone in layout.zones)
    return Program(chains, maps, counters)


def _gates() -> Iterator[tuple[str, Chain]]:
    allowed = _allowed(x.ct("mark", 0))
    into = (x.meta("oifname", 0), x.lookup_verdict("ports_out", 0))
    from_ce = (
        (x.ct("zone", 0), x.lookup_verdict("zones", 0)),
        (x.meta("iifname", 0), x.lookup_verdict("vrfs", 0)),
    )
    yield "forward", Chain((allowed, *from_ce, into), "forward")
    from_core = (x.ct("zone", 0), x.lookup_verdict("zones_out", 0))
    yield "output", Chain((allowed, from_core, into), "output")
    # Packets come by twice, the second time out of the VRF's own device.
    again: Rule = (x.meta("iifkind", 0), x.equal(0, VRF_KIND), x.verdict("accept"))
    at_port: Rule = (x.meta("iifname", 0), x.lookup_verdict("ports_in", 0))
    yield "prerouting", Chain((again, _at_home(4), _at_home(6), at_port), "prerouting")


def _at_home(version: int) -> Rule:
    """Zone, port and source: most packets are where they belong."""
    return (
        x.meta("nfproto", 0),
        x.equal(0, PROTOCOLS[version]),
        x.ct("zone", 0),
        x.meta("iif", 1),
        x.network_header(f"ip{version} saddr", *ADDRESSES[version, "saddr"], 2),
        x.lookup(f"at_home{version}", 0, 0),
        x.verdict("accept"),
    )


def _allowed(verdict: Expression) -> Rule:
    return (verdict, x.masked(0, ALLOW_BIT), x.not_zero(0), x.verdict("accept"))


def _zone(zone: int, *, staged: bool) -> dict[str, Chain]:
    # What the PE itself sends to a CE: routing sessions, ICMP errors.
    own = (x.local_source(0), x.equal(0, LOCAL), x.verdict("accept"))
    at_home: Rule = (x.verdict("jump", f"home_out_{zone}"),)
    return {
        f"vrf_{zone}": Chain(tuple(_tracked(zone, staged=staged))),
        f"tell_{zone}": Chain(tuple(_tell(zone, staged=staged))),
        f"decide_{zone}": Chain(tuple(_decide(zone))),
        f"stray_{zone}": Chain(tuple(_stray(zone))),
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
    Packet Too Big back into its VPN (pe.render.too_big)."""
    source = x.network_header(f"ip{version} saddr", *ADDRESSES[version, "saddr"], 1)
    go = (x.set_meta("priority", 0), x.verdict("goto", then))
    for name in (f"homes{version}", f"home_ranges{version}"):
        yield (x.constant(zone, 0), source, x.lookup(name, 0, 0), *go)


def _back() -> Rule:
    return (x.constant(0, 0), x.set_meta("priority", 0), x.verdict("return"))


def _judged(zone: int, slot: Slot) -> Iterator[Rule]:
    """Afterwards the mark is the slot's verdict."""
    yield (x.constant(zone, 0), x.set_meta("mark", 0))
    yield (x.verdict("jump", f"{PREFIX[slot]}source"),)


def _tracked(zone: int, *, staged: bool) -> Iterator[Rule]:
    yield from _judged(zone, Slot.ENFORCED)
    yield (x.meta("mark", 0), x.set_ct("mark", 0), x.counter(f"judged_{zone}"))
    # What a log rule asks for is told first, out of a budget of its own.
    noted = (x.meta("mark", 0), x.masked(0, LOG_BIT), x.not_zero(0))
    tell = x.verdict("goto", f"tell_{zone}")
    yield (*noted, x.limit(NOTED_PER_SECOND, NOTED_PER_SECOND), tell)
    yield (x.limit(TOLD_PER_SECOND, TOLD_PER_SECOND), tell)
    yield (x.counter(f"untold_{zone}"),)
    if staged:
        yield from _weigh(zone)
    yield (x.verdict("goto", f"decide_{zone}"),)


def _weigh(zone: int) -> Iterator[Rule]:
    """Ask the staged revision, and count."""
    yield from _judged(zone, Slot.STAGED)
    refused = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.zero(0))
    yield (*refused, x.counter(f"staged_denied_{zone}"))


def _tell(zone: int, *, staged: bool) -> Iterator[Rule]:
    """Log the verdict; with a staged one beside it twice, since a log holds one mark."""
    if not staged:
        yield (_log(FLOW_GROUP, str(zone)),)
    else:
        yield (_log(FLOW_GROUP, f"{zone}{AWAITED}"),)
        yield from _weigh(zone)
        yield (_log(STAGED_GROUP, str(zone)),)
    yield (x.verdict("goto", f"decide_{zone}"),)


def _log(group: int, prefix: str) -> Expression:
    return x.log(group, prefix, SNAP, LOG_BATCH)


def _decide(zone: int) -> Iterator[Rule]:
    # From the connection: the mark may be the staged verdict by now.
    yield _allowed(x.ct("mark", 0))
    yield (x.counter(f"denied_{zone}"), x.verdict("drop"))


def _stray(zone: int) -> Iterator[Rule]:
    """A packet without a connection. The mark that it keeps is what the guards look at."""
    yield from _judged(zone, Slot.ENFORCED)
    yield _allowed(x.meta("mark", 0))
    yield (x.counter(f"judged_{zone}"),)
    yield (x.counter(f"denied_{zone}"),)
    yield (
        x.limit(NOTED_PER_SECOND, NOTED_PER_SECOND),
        _log(FLOW_GROUP, str(zone)),
        x.verdict("drop"),
    )
    yield (x.counter(f"untold_{zone}"), x.verdict("drop"))


def _judge(prefix: str) -> Iterator[tuple[str, Chain]]:
    """The look-ups, each in a rule of its own: the first that finds something goes on."""
    nowhere: Rule = (x.verdict("goto", f"{prefix}nowhere"),)
    six = (x.meta("nfproto", 0), x.equal(0, IPV6), x.verdict("goto", f"{prefix}source6"))
    source = {v: _identity(prefix, v, "saddr", f"to{v}") for v in (4, 6)}
    yield "source", Chain((six, *source[4], nowhere))
    yield "source6", Chain((*source[6], nowhere))
    for version, foreign in ((4, ICMP6), (6, ICMP)):
        found = _identity(prefix, version, "daddr", f"pair{version}")
        yield f"to{version}", Chain((*found, nowhere))
        malformed = (x.meta("l4proto", 0), x.equal(0, bytes((foreign,))), *_done(BY_MALFORMED))
        yield f"pair{version}", Chain((malformed, *_contract(prefix), nowhere))
    yield "contract", Chain((*_service(prefix), nowhere))
    yield "nowhere", Chain((_done(BY_ZONE),))


def _identity(prefix: str, version: int, side: str, then: str) -> Iterator[Rule]:
    """Zone (the mark) and address -> identity, of the source or of the destination."""
    offset, size = ADDRESSES[version, side]
    go = x.verdict("goto", prefix + then)
    for name in (f"addresses{version}", f"ranges{version}"):
        yield (
            x.meta("mark", 0),
            x.network_header(f"ip{version} {side}", offset, size, 1),
            x.lookup(prefix + name, 0, 0),
            x.set_meta("priority" if side == "saddr" else "mark", 0),
            go,
        )


def _contract(prefix: str) -> Iterator[Rule]:
    """Two identities -> contract."""
    source, destination = x.meta("priority", 0), x.meta("mark", 1)
    go = (x.set_meta("mark", 0), x.verdict("goto", f"{prefix}contract"))
    yield (source, destination, x.lookup(f"{prefix}pairs", 0, 0), *go)
    yield (source, x.lookup(f"{prefix}sources", 0, 0), *go)
    yield (destination, x.lookup(f"{prefix}destinations", 1, 0), *go)


def _service(prefix: str) -> Iterator[Rule]:
    """Contract, protocol and port or ICMP type -> verdict."""
    contract, protocol = x.meta("mark", 0), x.meta("l4proto", 1)
    port = x.transport_header("dport", 2, 2, 2)
    kind = x.transport_header("icmp type", 0, 1, 2)
    done = (x.set_meta("mark", 0), x.verdict("return"))
    yield (contract, protocol, port, x.lookup(f"{prefix}ports", 0, 0), *done)
    yield (contract, protocol, port, x.lookup(f"{prefix}port_ranges", 0, 0), *done)
    yield (contract, protocol, kind, x.lookup(f"{prefix}icmp", 0, 0), *done)
    yield (contract, protocol, x.lookup(f"{prefix}protocols", 0, 0), *done)
    yield (contract, x.lookup(f"{prefix}contracts", 0, 0), *done)


def _done(verdict: Verdict) -> Rule:
    return (x.constant(verdict.word, 0), x.set_meta("mark", 0), x.verdict("return"))
