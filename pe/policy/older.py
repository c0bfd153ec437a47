"""Flows that were not seen from their beginning, and flows that were ended. Pure.

A TCP segment without SYN opens nothing. It is part of an older flow, of which either end may have
been the client: one that is older than the policy, that moved here with its workload, or whose
other half takes another way. It passes if a rule allows one of the two flows that it may be, or if
both are allowed (``Reader.older_verdict``, which flow revocation goes by). Whose beginning
was seen keeps its direction for as long as its connection is tracked: the mark of a connection that
was ended keeps all but its permission, and each of its packets is judged as the flow was opened.
Where another program overwrote the mark, a segment without SYN is again part of an older flow.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.protocols import TCP
from controlplane.model.verdict import ALLOW_BIT, BY_RULE_MASK, OLDER_BIT
from controlplane.model.verdict_tables import Slot
from pe.model.mark_code import MarkCode
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, Rule
from pe.observe.log_entry import BACKWARDS_BIT
from pe.policy.logging import entry_of_few, opens_tcp
from pe.policy.lookup import KEEP, allowed, judged
from pe.policy.reading import ANSWER, OPENED, PACKET, REOPENED, Reading

ORIGINAL, REPLY = b"\0", b"\1"
"""Directions of a connection, as ``ct direction`` has them."""


def chains(zone: int, code: MarkCode) -> Iterator[tuple[str, Chain]]:
    """The chains of a VRF; packets enter at ``again_N``, ``older_N``, ``older_untracked_N``."""
    yield f"again_{zone}", Chain(tuple(_again(zone)))
    yield f"renew_{zone}", Chain(tuple(_renew(zone)))
    yield from _either(zone, f"older_{zone}", OPENED, REOPENED)
    yield f"older_{zone}_ahead", Chain(tuple(_kept(zone, REPLY)))
    yield f"older_{zone}_back", Chain(tuple(_kept(zone, ORIGINAL)))
    yield f"older_log_{zone}", Chain(tuple(_log(zone, code)))
    name = f"older_untracked_{zone}"
    yield from _either(zone, name, PACKET, ANSWER)
    then = x.verdict("goto", f"untracked_judged_{zone}")
    yield f"{name}_ahead", Chain((_marked(OLDER_BIT), (then,)))
    yield f"{name}_back", Chain((_marked(OLDER_BIT | BACKWARDS_BIT), (then,)))


def _again(zone: int) -> Iterator[Rule]:
    """It has a verdict, and may not pass any more. A SYN opens a flow of its own, by the same
    ports as the one before."""
    opens = (x.ct("direction", 0), x.equal(0, ORIGINAL))
    yield (*opens, *opens_tcp(), x.verdict("goto", f"opened_{zone}"))
    yield from _as_opened(zone)
    yield from _carried_out(zone)


def _renew(zone: int) -> Iterator[Rule]:
    """Former tables allowed it. What the tables as they are allow goes on without a record; it is
    not judged again before they are replaced."""
    yield from _as_opened(zone)
    yield allowed(x.meta("mark", 0))
    yield from _carried_out(zone)


def _as_opened(zone: int) -> Iterator[Rule]:
    """The connection's verdict is that of the tables as they are; so is the mark."""
    unknown = (x.ct("mark", 0), x.masked(0, OLDER_BIT), x.not_zero(0))
    of_tcp = (x.ct("protocol", 0), x.equal(0, bytes((TCP,))))  # else the bit is not ours
    yield (*unknown, *of_tcp, x.verdict("goto", f"older_{zone}"))
    yield from judged(zone, Slot.ENFORCED, OPENED)
    yield (x.verdict("jump", KEEP),)


def _carried_out(zone: int) -> Iterator[Rule]:
    """Log it as a part of an older flow, and do what the verdict says."""
    yield _marked(OLDER_BIT)
    yield from _told(zone, REPLY)


def _either(zone: int, name: str, ahead: Reading, back: Reading) -> Iterator[tuple[str, Chain]]:
    """The verdict on a flow that may be either of two, and on to the chain of its direction."""
    go_ahead, go_back = (x.verdict("goto", f"{name}_{way}") for way in ("ahead", "back"))
    denied = x.verdict("goto", f"{name}_denied")
    as_ahead, as_back = (tuple(judged(zone, Slot.ENFORCED, way)) for way in (ahead, back))
    one = (*as_ahead, _by_rule(go_ahead), (*_denies(), denied))
    other = (*as_back, _by_rule(go_back), (*_denies(), go_back))
    yield name, Chain((*one, *other, *as_ahead, (go_ahead,)))
    yield f"{name}_denied", Chain((*as_back, _by_rule(go_back), *as_ahead, (go_ahead,)))


def _denies() -> Rule:
    return (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.zero(0))


def _by_rule(then: Expression) -> Rule:
    allows = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.not_zero(0))
    return (*allows, x.meta("mark", 0), x.masked(0, BY_RULE_MASK), x.not_zero(0), then)


def _marked(bits: int) -> Rule:
    return (x.meta("mark", 0), x.with_bits(0, bits), x.set_meta("mark", 0))


def _kept(zone: int, against: bytes) -> Iterator[Rule]:
    """The verdict is the connection's; its packets in one direction go against the flow."""
    yield _marked(OLDER_BIT)
    yield (x.verdict("jump", KEEP),)
    yield from _told(zone, against)


def _told(zone: int, against: bytes) -> Iterator[Rule]:
    yield (x.ct("direction", 0), x.equal(0, against), *_marked(BACKWARDS_BIT))
    yield (x.verdict("goto", f"older_log_{zone}"),)


def _log(zone: int, code: MarkCode) -> Iterator[Rule]:
    decide = x.verdict("goto", f"decide_{zone}")
    yield (x.counter(f"judged_{zone}"),)
    yield (*entry_of_few(zone, code), decide)
    yield (x.counter(f"log_dropped_{zone}"), decide)
