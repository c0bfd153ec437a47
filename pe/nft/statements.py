"""The language in which the packet filters write their rules.

A statement has ``words``, which are those of nft and stand in golden files, and compiles to the
instructions that the nft program (1.0.6) would make of these words. So what was read and agreed
on is what the kernel does, and ``nft list ruleset`` shows it in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

from pe.nft import expression as x
from pe.nft.compiler import RuleCompiler
from pe.nft.fields import CT_ZONE, Field
from pe.nft.types import TYPES

_ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class MarkFrom:
    """Mark the packet with what a map says for a field; ends the rule where it says nothing."""

    field: Field
    name: str

    @property
    def words(self) -> str:
        return f"meta mark set {self.field.words} map @{self.name}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(self.field.load(0), x.lookup(self.name, 0, 0), x.set_meta("mark", 0))


@dataclass(frozen=True, slots=True)
class MarkBits:
    """Set some bits of the packet's mark, or clear them; the others stay."""

    bits: int
    cleared: bool = False

    @property
    def words(self) -> str:
        change = f"& {_ALL_BITS & ~self.bits:#x}" if self.cleared else f"| {self.bits:#x}"
        return f"meta mark set meta mark {change}"

    def compile(self, rule: RuleCompiler) -> None:
        kept = x.masked(0, _ALL_BITS & ~self.bits)
        changed = kept if self.cleared else x.with_bits(0, self.bits)
        rule.add(x.meta("mark", 0), changed, x.set_meta("mark", 0))


@dataclass(frozen=True, slots=True)
class Remember:
    """Put a field into a set that forgets; ends the rule if the set is full."""

    field: Field
    name: str

    @property
    def words(self) -> str:
        return f"update @{self.name} {{ {self.field.words} }}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.require(self.field.needs)
        rule.add(self.field.load(0), x.update(self.name, 0))


@dataclass(frozen=True, slots=True)
class Count:
    """Count under a name."""

    name: str

    @property
    def words(self) -> str:
        return f'counter name "{self.name}"'

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(x.counter(self.name))


@dataclass(frozen=True, slots=True)
class LimitOver:
    """Go on only for packets that are more than so many a second."""

    rate: int
    burst: int

    @property
    def words(self) -> str:
        return f"limit rate over {self.rate}/second burst {self.burst} packets"

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(x.limit_over(self.rate, self.burst))


@dataclass(frozen=True, slots=True)
class ConnectionsOver:
    """Go on only for packets of connections that are more than so many in their zone.

    They are counted in a set (``name``) and not in the rule: a count of the rule's own begins from
    zero when the rule is loaded (nft_connlimit_init), as at each repair and start.
    """

    count: int
    name: str

    @property
    def words(self) -> str:
        return f"add @{self.name} {{ {CT_ZONE.words} ct count over {self.count} }}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(CT_ZONE.load(0), x.connections_over(self.count, self.name, 0))


@dataclass(frozen=True, slots=True)
class _Untracked:
    """Have connection tracking not follow the packet."""

    words: str = "notrack"

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(x.untracked())


@dataclass(frozen=True, slots=True)
class SetZone:
    """Have connection tracking keep the packet's connection in a zone."""

    zone: int

    @property
    def words(self) -> str:
        return f"ct zone set {self.zone}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(x.load(TYPES["zone"].encode(self.zone), 0), x.set_ct("zone", 0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """``accept``, ``drop``, ``return``, or ``jump`` and ``goto`` with a chain."""

    verdict: str
    chain: str = ""

    @property
    def words(self) -> str:
        return f"{self.verdict} {self.chain}".strip()

    def compile(self, rule: RuleCompiler) -> None:
        rule.add(x.verdict(self.verdict, self.chain))


NOT_TRACKED = _Untracked()
ACCEPT, DROP, RETURN = Verdict("accept"), Verdict("drop"), Verdict("return")


def jump(chain: str) -> Verdict:
    """Go through a chain, and on with the next rule."""
    return Verdict("jump", chain)


def goto(chain: str) -> Verdict:
    """Go on in another chain."""
    return Verdict("goto", chain)
