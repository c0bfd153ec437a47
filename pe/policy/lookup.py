"""The look-ups that find a verdict, as controlplane.policy.compile.tables has them. Pure.

The packet's mark holds first the zone, then the destination's identity, then the contract, then
the verdict; its priority holds the source's identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.model.protocols import ICMP, ICMP6
from controlplane.model.verdict import ALLOW_BIT, BY_MALFORMED, BY_ZONE, Verdict
from controlplane.model.verdict_tables import Slot
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, NamedSet, Rule

ADDRESSES = {
    (4, "saddr"): (12, 4),
    (4, "daddr"): (16, 4),
    (6, "saddr"): (8, 16),
    (6, "daddr"): (24, 16),
}
"""Offset and size in the IP header."""
PROTOCOLS = {4: b"\x02", 6: b"\x0a"}
IPV6 = PROTOCOLS[6]

PREFIX = {Slot.ENFORCED: "e_", Slot.STAGED: "s_"}

VERDICT_MAPS: Mapping[str, NamedSet] = {
    "addresses4": NamedSet(("mark", "ipv4_addr"), "mark"),
    "addresses6": NamedSet(("mark", "ipv6_addr"), "mark"),
    "ranges4": NamedSet(("mark", "ipv4_addr"), "mark", interval=True),
    "ranges6": NamedSet(("mark", "ipv6_addr"), "mark", interval=True),
    "pairs": NamedSet(("mark", "mark"), "mark"),
    "sources": NamedSet(("mark",), "mark"),
    "destinations": NamedSet(("mark",), "mark"),
    "contracts": NamedSet(("mark",), "mark"),
    "protocols": NamedSet(("mark", "inet_proto"), "mark"),
    "ports": NamedSet(("mark", "inet_proto", "inet_service"), "mark"),
    "port_ranges": NamedSet(("mark", "inet_proto", "inet_service"), "mark", interval=True),
    "icmp": NamedSet(("mark", "inet_proto", "icmp_type"), "mark"),
}
"""One map for each of Tables, under the same name; a slot's prefix goes before it."""


def allowed(verdict: Expression) -> Rule:
    """Accept, if what this loads is a verdict that allows."""
    return (verdict, x.masked(0, ALLOW_BIT), x.not_zero(0), x.verdict("accept"))


def judged(zone: int, slot: Slot) -> Iterator[Rule]:
    """Afterwards the mark is the slot's verdict."""
    yield (x.constant(zone, 0), x.set_meta("mark", 0))
    yield (x.verdict("jump", f"{PREFIX[slot]}source"),)


def exactly(zone: int, slot: Slot, *then: Expression) -> Iterator[Rule]:
    """The way of most flows in one go: both ends and the port stand in the tables as they are.
    Afterwards the mark is the verdict, which is what ``judged`` would find; if anything is not
    there, the next rule has its turn.

    Each key is loaded anew, as the rules of ``lookups`` have to: of one made from what look-ups
    found, ``nft list`` (1.0.6) knows no length, and aborts."""
    prefix = PREFIX[slot]
    for version in (4, 6):
        family = (x.meta("nfproto", 0), x.equal(0, PROTOCOLS[version]))
        of_zone, addresses = x.constant(zone, 0), f"{prefix}addresses{version}"
        source = _address(version, "saddr", of_zone, addresses)
        destination = _address(version, "daddr", of_zone, addresses)
        yield (*family, *source, *destination, *_pair(prefix), *_port(prefix, "ports"), *then)


def _address(version: int, side: str, zone: Expression, table: str) -> Rule:
    """Zone and address -> identity: of the source in the priority, else in the mark."""
    address = x.network_header(f"ip{version} {side}", *ADDRESSES[version, side], 1)
    kept = x.set_meta("priority" if side == "saddr" else "mark", 0)
    return (zone, address, x.lookup(table, 0, 0), kept)


def _pair(prefix: str) -> Rule:
    """Two identities -> contract, in the mark."""
    identities = (x.meta("priority", 0), x.meta("mark", 1))
    return (*identities, x.lookup(f"{prefix}pairs", 0, 0), x.set_meta("mark", 0))


def _port(prefix: str, table: str) -> Rule:
    """Contract, protocol and port -> verdict, in the mark."""
    contract, protocol = x.meta("mark", 0), x.meta("l4proto", 1)
    port = x.transport_header("dport", 2, 2, 2)
    return (contract, protocol, port, x.lookup(prefix + table, 0, 0), x.set_meta("mark", 0))


def lookups(prefix: str) -> Iterator[tuple[str, Chain]]:
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
    for name in (f"addresses{version}", f"ranges{version}"):
        found = _address(version, side, x.meta("mark", 0), prefix + name)
        yield (*found, x.verdict("goto", prefix + then))


def _contract(prefix: str) -> Iterator[Rule]:
    """Two identities -> contract."""
    goto = x.verdict("goto", f"{prefix}contract")
    go = (x.set_meta("mark", 0), goto)
    yield (*_pair(prefix), goto)
    yield (x.meta("priority", 0), x.lookup(f"{prefix}sources", 0, 0), *go)
    yield (x.meta("mark", 1), x.lookup(f"{prefix}destinations", 1, 0), *go)


def _service(prefix: str) -> Iterator[Rule]:
    """Contract, protocol and port or ICMP type -> verdict."""
    contract, protocol = x.meta("mark", 0), x.meta("l4proto", 1)
    kind = x.transport_header("icmp type", 0, 1, 2)
    done = (x.set_meta("mark", 0), x.verdict("return"))
    yield (*_port(prefix, "ports"), x.verdict("return"))
    yield (*_port(prefix, "port_ranges"), x.verdict("return"))
    yield (contract, protocol, kind, x.lookup(f"{prefix}icmp", 0, 0), *done)
    yield (contract, protocol, x.lookup(f"{prefix}protocols", 0, 0), *done)
    yield (contract, x.lookup(f"{prefix}contracts", 0, 0), *done)


def _done(verdict: Verdict) -> Rule:
    return (x.constant(verdict.word, 0), x.set_meta("mark", 0), x.verdict("return"))
