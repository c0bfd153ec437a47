"""The look-ups that find a verdict, as controlplane.policy.compile.tables has them. Pure.

The packet's mark holds first the zone, then the destination's identity, then the contract, then
the verdict; its priority holds the source's identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.model.protocols import AH, ICMP, ICMP6
from controlplane.model.verdict import (
    ALLOW_BIT,
    BY_MALFORMED,
    BY_ZONE,
    EPOCH_MASK,
    EPOCH_SHIFT,
    OLDER_BIT,
    Verdict,
)
from controlplane.model.verdict_tables import Slot
from pe.model.mark_code import CODE_MASK, MarkCode
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, NamedSet, Rule
from pe.policy.reading import IPV6, OPENED, PROTOCOLS, Reading

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


KEEP = "keep"
"""The chain that stores the mark, a verdict, in the connection; it comes back."""


def settled(code: MarkCode, epoch: int) -> Rule:
    """Accept what was allowed by the tables of this epoch: all that most packets meet."""
    mask, value = CODE_MASK | EPOCH_MASK, code.allowed | epoch << EPOCH_SHIFT
    return (*has_mark(value, mask), x.verdict("accept"))


def has_mark(value: int, mask: int = CODE_MASK) -> Rule:
    """Go on only for a connection that is marked so: ``allowed`` or ``denied`` of the code."""
    return (x.ct("mark", 0), x.masked(0, mask), x.equal(0, x.host32(value)))


def keep(code: MarkCode, epoch: int) -> Iterator[Rule]:
    """Store whether it is allowed, and the epoch; the packet's mark stays as it is."""
    allows = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.not_zero(0))
    yield (*allows, *_stored(code.allowed, epoch), x.verdict("return"))
    yield _stored(code.denied, epoch)


def _stored(value: int, epoch: int) -> Rule:
    bits = x.replaced(0, OLDER_BIT, value | epoch << EPOCH_SHIFT)
    return (x.meta("mark", 0), bits, x.set_ct("mark", 0))


def judged(zone: int, slot: Slot, reading: Reading) -> Iterator[Rule]:
    """Afterwards the mark is the slot's verdict."""
    yield (x.constant(zone, 0), x.set_meta("mark", 0))
    yield (x.verdict("jump", f"{PREFIX[slot]}{reading.name}source"),)


def exactly(zone: int, slot: Slot, *then: Expression) -> Iterator[Rule]:
    """The way of most flows in one go: both ends and the port stand in the tables as they are.
    Afterwards the mark is the verdict, which is what ``judged`` would find; if anything is not
    there, the next rule has its turn.

    Each key is loaded anew, as the rules of ``lookups`` have to: of one made from what look-ups
    found, ``nft list`` (1.0.6) knows no length, and aborts."""
    found = _Lookups(PREFIX[slot], OPENED)
    for version in (4, 6):
        family = (x.meta("nfproto", 0), x.equal(0, PROTOCOLS[version]))
        of_zone, addresses = x.constant(zone, 0), f"addresses{version}"
        source = found.address(version, "saddr", of_zone, addresses)
        destination = found.address(version, "daddr", of_zone, addresses)
        yield (*family, *source, *destination, *found.pair(), *found.port("ports"), *then)


def lookups(slot: Slot, reading: Reading) -> Iterator[tuple[str, Chain]]:
    """The look-ups, each in a rule of its own: the first that finds something goes on."""
    found = _Lookups(PREFIX[slot], reading)
    for name, rules in found.chains():
        yield found.chain(name), Chain(tuple(rules))


@dataclass(frozen=True, slots=True)
class _Lookups:
    """The rules of a slot, whose maps have the ``prefix``, for one reading of packets."""

    prefix: str
    reading: Reading

    def chain(self, name: str) -> str:
        return self.prefix + self.reading.name + name

    def chains(self) -> Iterator[tuple[str, Iterator[Rule]]]:
        yield "source", self._ends(4)
        yield "source6", self._identity(6, "saddr", "to6")
        for version in (4, 6):
            yield f"to{version}", self._identity(version, "daddr", f"pair{version}")
        yield "pair4", self._contract(ICMP6)
        # Without a connection, what an authentication header hides is not known.
        yield "pair6", self._contract(ICMP, *(() if self.reading.is_tracked else (AH,)))
        yield "contract", self._service()
        yield "nowhere", iter((_done(BY_ZONE),))

    def _goto(self, name: str) -> Expression:
        return x.verdict("goto", self.chain(name))

    def address(self, version: int, side: str, zone: Expression, table: str) -> Rule:
        """Zone and address -> identity: of the source in the priority, else in the mark."""
        address = self.reading.address(version, side, 1)
        kept = x.set_meta("priority" if side == "saddr" else "mark", 0)
        return (zone, address, x.lookup(self.prefix + table, 0, 0), kept)

    def pair(self) -> Rule:
        """Two identities -> contract, in the mark."""
        identities = (x.meta("priority", 0), x.meta("mark", 1))
        return (*identities, x.lookup(f"{self.prefix}pairs", 0, 0), x.set_meta("mark", 0))

    def port(self, table: str) -> Rule:
        """Contract, protocol and port -> verdict, in the mark."""
        key = (x.meta("mark", 0), self.reading.protocol(1), self.reading.port(2))
        return (*key, x.lookup(self.prefix + table, 0, 0), x.set_meta("mark", 0))

    def _ends(self, version: int) -> Iterator[Rule]:
        yield (x.meta("nfproto", 0), x.equal(0, IPV6), self._goto("source6"))
        yield from self._identity(version, "saddr", f"to{version}")

    def _identity(self, version: int, side: str, then: str) -> Iterator[Rule]:
        """Zone (the mark) and address -> identity, of the source or of the destination."""
        for name in (f"addresses{version}", f"ranges{version}"):
            found = self.address(version, side, x.meta("mark", 0), name)
            yield (*found, self._goto(then))
        yield (self._goto("nowhere"),)

    def _contract(self, *malformed: int) -> Iterator[Rule]:
        """Two identities -> contract; not for protocols that have no place in this family."""
        for protocol in malformed:
            of_it = (self.reading.protocol(0), x.equal(0, bytes((protocol,))))
            yield (*of_it, *_done(BY_MALFORMED))
        goto = self._goto("contract")
        go = (x.set_meta("mark", 0), goto)
        yield (*self.pair(), goto)
        yield (x.meta("priority", 0), x.lookup(f"{self.prefix}sources", 0, 0), *go)
        yield (x.meta("mark", 1), x.lookup(f"{self.prefix}destinations", 1, 0), *go)
        yield (self._goto("nowhere"),)

    def _service(self) -> Iterator[Rule]:
        """Contract, protocol and port or ICMP type -> verdict."""
        contract, protocol = x.meta("mark", 0), self.reading.protocol(1)
        kind = self.reading.icmp_type(2)
        done = (x.set_meta("mark", 0), x.verdict("return"))
        yield (*self.port("ports"), x.verdict("return"))
        yield (*self.port("port_ranges"), x.verdict("return"))
        yield (contract, protocol, *kind, x.lookup(f"{self.prefix}icmp", 0, 0), *done)
        yield (contract, protocol, x.lookup(f"{self.prefix}protocols", 0, 0), *done)
        yield (contract, x.lookup(f"{self.prefix}contracts", 0, 0), *done)
        yield (self._goto("nowhere"),)


def _done(verdict: Verdict) -> Rule:
    return (x.constant(verdict.word, 0), x.set_meta("mark", 0), x.verdict("return"))
