"""Compiles a rule: what a statement is, and what its rule has to know before it.

Before a field is compared, the rule has to know that its header is there: the compiler remembers
what a rule found out, and adds the match that is missing, as nft does (proto_ctx, payload.c).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pe.nft import expression as x
from pe.nft import fields as f
from pe.nft.expression import Expression
from pe.nft.fields import Field, Place
from pe.nft.ranges import Bound

_ETHER, _ICMPV6, _TCP = b"\x01\x00", b"\x3a", b"\x06"
_NETWORKS = {"ip": (b"\x02", b"\x08\x00"), "ip6": (b"\x0a", b"\x86\xdd"), "arp": (b"", b"\x08\x06")}
"""Of each protocol: NFPROTO_* where tables have both families, and the ethertype."""


class Statement(Protocol):
    """A part of a rule."""

    @property
    def words(self) -> str:
        """The statement as nft reads it."""
        ...

    def compile(self, rule: RuleCompiler) -> None:
        """Add its instructions to those of a rule."""
        ...


@dataclass(frozen=True, slots=True)
class AnonymousSet:
    """A set of one rule: values, or with ``place`` ranges of what is found there."""

    kind: str
    elements: tuple[Bound, ...]
    size: int
    interval: bool
    place: Place | None


@dataclass(slots=True)
class RuleCompiler:
    """The instructions of one rule, and the sets that it needs, by the numbers under which the
    transaction makes them."""

    family: str
    first_set: int = 1
    expressions: list[Expression] = field(default_factory=list)
    sets: list[AnonymousSet] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(self, *expressions: Expression) -> None:
        """Add instructions."""
        self.expressions += expressions

    def new_set(self, made: AnonymousSet) -> int:
        """Add a set; its number."""
        self.sets.append(made)
        return self.first_set + len(self.sets) - 1

    def require(self, protocol: str) -> None:
        """Go on only where a protocol is there, unless that is known."""
        if not protocol or protocol in self.known:
            return
        if protocol == "icmpv6":
            self.require("ip6")
        if protocol == "ether":
            self.add(x.meta("iiftype", 0), x.equal(0, _ETHER))
        elif protocol in _NETWORKS:
            by_family, by_type = _NETWORKS[protocol]
            if self.family == "inet":
                self.add(x.meta("nfproto", 0), x.equal(0, by_family))
            elif self.family == "netdev":
                self.add(x.meta("protocol", 0), x.equal(0, by_type))
        else:
            self.add(x.meta("l4proto", 0), x.equal(0, _ICMPV6 if protocol == "icmpv6" else _TCP))
        self.known.add(protocol)

    def learn(self, compared: Field, operator: str, value: bytes) -> None:
        """Remember what a comparison says about the packet's protocols."""
        if operator == "==" and compared in (f.ETHER_TYPE, f.PROTOCOL, f.NFPROTO):
            found = 0 if compared == f.NFPROTO else 1
            self.known |= {p for p, values in _NETWORKS.items() if values[found] == value}
            if value == b"\x81\x00":
                self.known.add("vlan")
