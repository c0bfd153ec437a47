"""What other programs' chains do to marks, from the kernel's form of their rules."""

from __future__ import annotations

import asyncio
import errno
import struct
from collections.abc import Coroutine
from typing import Any

import pytest

from controlplane.model.desired import Delta, Desired, VrfDevice
from pe.dataplane import foreign_chains as following
from pe.dataplane.foreign_chains import REST, ForeignChains
from pe.netlink import codec as nl
from pe.nft import expression as x
from pe.nft import foreign_chains
from pe.nft.expression import Expression
from pe.nft.foreign_chains import Ours, uses
from pe.nft.owner import RulesetOwner
from pe.nft.owner import following as next_number
from tests.parts import LonePart

OURS = Ours(frozenset(), 0xDC0007FF, frozenset({5, 6}))
META, CT = ["meta mark set"], ["ct mark set"]


def found(*rule: Expression) -> list[str]:
    return list(uses(memoryview(b"".join(each.wire for each in rule)), OURS))


def changed(kind: str, kept: int, bits: int) -> tuple[Expression, ...]:
    """``mark set mark & kept ^ bits``."""
    if kind == "meta":
        return (x.meta("mark", 0), x.replaced(0, kept, bits), x.set_meta("mark", 0))
    return (x.ct("mark", 0), x.replaced(0, kept, bits), x.set_ct("mark", 0))


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ((x.constant(1 << 31, 0), x.set_meta("mark", 0)), META),
        ((x.constant(1 << 31, 0), x.set_ct("mark", 0)), CT),
        ((x.ct("mark", 0), x.set_meta("mark", 0)), META),
        ((x.meta("mark", 0), x.set_ct("mark", 0)), CT),
        ((x.meta("iif", 0), x.lookup("m", 0, 0), x.set_meta("mark", 0)), META),
        (changed("meta", 0xFFFFFFFF, 1 << 31), META),
        (changed("meta", 0x7FFFFFFF, 0), META),
        (changed("meta", 0xFFFFFFFF, 1 << 3), META),  # a table's number
        (changed("meta", 0xFFFF3FFF, 0xC000), []),  # kube-proxy's bits
        (changed("meta", 0xFF00FFFF, 0x80000), []),  # Tailscale's
        (changed("ct", 0xFFFF3FFF, 0x4000), CT),
        ((*changed("meta", 0xFFFF3FFF, 0)[:2], x.lookup("m", 0, 0), x.set_meta("mark", 0)), META),
        ((*changed("meta", 0xFFFF3FFF, 0), *changed("ct", 0, 1)), CT),
        ((x.meta("mark", 0), x.equal(0, bytes(4)), x.verdict("accept")), []),
        ((x.ct("mark", 0), x.masked(0, 1), x.not_zero(0), x.counter("c")), []),
        ((x.constant(1, 0), x.set_meta("priority", 0)), []),
        ((x.log(5, "prefix", 0, 0),), ["log group 5"]),
        ((x.log(7, "prefix", 0, 0),), []),
        ((x.meta("mark", 0), x.masked(0, 0), x.set_meta("mark", 0)), META),
    ],
)  # fmt: skip
def test_a_rule_of_nftables(rule: tuple[Expression, ...], wanted: list[str]) -> None:
    assert found(*rule) == wanted


def target(name: str, revision: int, info: bytes) -> Expression:
    """As nft_compat writes it (NFTA_TARGET_NAME, _REV, _INFO)."""
    data = nl.attribute(1, name.encode() + b"\0") + x.be32(2, revision) + nl.attribute(3, info)
    return Expression("target", data, name)


def connmark(mark: int, mask: int, packet_mask: int, mode: int) -> Expression:
    return target("CONNMARK", 1, struct.pack("=IIIB3x", mark, mask, packet_mask, mode))


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (target("MARK", 2, struct.pack("=II", 1 << 31, 0xFFFFFFFF)), META),
        (target("MARK", 2, struct.pack("=II", 0x4000, 0x4000)), []),
        (target("MARK", 2, struct.pack("=II", 1 << 31, 0)), META),
        (target("MARK", 2, b"\1"), []),
        (connmark(1, 0xFFFFFFFF, 0, 0), CT),
        (connmark(0, 0xFF, 0xFF, 1), CT),
        (connmark(0, 0xC000, 0xC000, 2), []),
        (connmark(0, 0xFFFF0000, 0xFFFF0000, 2), META),
        (target("NFLOG", 0, struct.pack("=IHHHH64s", 0, 6, 0, 0, 0, b"10")), ["log group 6"]),
        (target("NFLOG", 0, struct.pack("=IHHHH64s", 0, 1, 0, 0, 0, b"10")), []),
        (target("DNAT", 0, bytes(64)), []),
    ],
)
def test_a_target_of_iptables(made: Expression, wanted: list[str]) -> None:
    assert found(x.meta("iif", 0), made) == wanted


class Ruleset(RulesetOwner):
    """A ruleset's number, and how often it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.readings = 1, list[Ours]()
        self.answer: tuple[str, ...] | OSError = ("inet other c: ct mark set",)
        self.refusal: OSError | None = None

    def generation(self) -> int:
        if self.refusal is not None:
            raise self.refusal
        return self.number

    def read(self, ours: Ours) -> tuple[str, ...]:
        self.readings.append(ours)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer

    def ours(self) -> None:
        """The node changes the ruleset."""
        before, self.number = self.number, next_number(self.number)
        self.changed("guards", before)


def no_log(_level: str, _event: str, _fields: dict[str, str | int]) -> None:
    """For tests of what is logged nowhere."""


class Pace(LonePart):
    """Runs a reading at once."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> Any:
        asyncio.run(work)


@pytest.fixture
def ruleset(monkeypatch: pytest.MonkeyPatch) -> Ruleset:
    made = Ruleset()
    monkeypatch.setattr(foreign_chains, "read", made.read)
    monkeypatch.setattr(following, "REST", 0)
    return made


def test_they_are_read_when_another_program_changed_the_ruleset(ruleset: Ruleset) -> None:
    taken: list[tuple[str, ...]] = []
    chains = ForeignChains(ruleset, Desired(), no_log, Pace(), taken.append)
    chains.look(1e9)
    chains.look(1e9)
    ruleset.ours()
    chains.look(1e9)
    assert (len(ruleset.readings), len(taken)) == (1, 1), "for a change of ours nothing is read"
    ruleset.number += 1
    ruleset.answer = ()
    chains.look(1e9)
    assert taken == [("inet other c: ct mark set",), ()]
    chains.read_anew()
    chains.look(1e9)
    assert len(taken) == 3


def test_the_bits_of_a_packets_mark_follow_the_tables(ruleset: Ruleset) -> None:
    desired = Desired()
    chains = ForeignChains(ruleset, desired, no_log, Pace(), lambda _: None)
    chains.look(1e9)
    desired.apply(Delta(vrfs={"red": VrfDevice("red", 1010)}))
    chains.look(1e9)
    assert [ours.packet_bits for ours in ruleset.readings] == [0xDC000000, 0xDC0003FF]


def test_a_reading_that_fails_is_repeated_and_logged_once(ruleset: Ruleset) -> None:
    taken: list[tuple[str, ...]] = []
    lines: list[tuple[str, dict[str, str | int]]] = []

    def log(_level: str, event: str, fields: dict[str, str | int]) -> None:
        lines.append((event, fields))

    chains = ForeignChains(ruleset, Desired(), log, Pace(), taken.append)
    ruleset.answer = OSError(errno.ENOBUFS, "no room")
    chains.look(1e9)
    chains.look(1e9)
    assert taken == []
    refusal = {"kind": "foreign-chain", "name": "rulesets", "reason": "no room"}
    assert lines == [("kernel_refused", refusal)]
    ruleset.answer = ()
    chains.look(1e9)
    assert taken == [()]
    ruleset.refusal = OSError(errno.ENOMEM, "no memory")
    chains.look(1e9)
    assert lines[1:] == [("kernel_refused", {**refusal, "reason": "no memory"})]


def test_one_that_takes_long_is_followed_by_a_rest() -> None:
    assert REST >= 10
