"""What becomes of a new flow once there is a verdict: the connection keeps it, nflog reports it,
and it is carried out. Pure.

The mark of a connection says whether it is allowed, with the epoch of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.protocols import TCP
from controlplane.model.verdict import ALLOW_BIT, LOG_BIT
from controlplane.model.verdict_tables import Slot
from pe.model.mark_code import MarkCode
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, Rule
from pe.observe.log_entry import AWAITED, FLOW_GROUP, SNAP, STAGED_GROUP
from pe.policy.lookup import KEEP, exactly, has_mark, judged
from pe.policy.reading import OPENED, PACKET

LOG_BATCH = 32
RELATED = 1 << 2
"""NF_CT_STATE_BIT(IP_CT_RELATED)."""
SYN, OPENING = b"\x02", b"\x17"
"""Of the flags of TCP: SYN, and FIN, SYN, RST and ACK."""
LOGGED_PER_SECOND, ASKED_PER_SECOND = 20_000, 2_000
"""Of a VRF: beyond that flows are counted and not logged, so that one cannot drown the others.
Flows that a log rule asks for have a share of their own."""


def chains(zone: int, code: MarkCode, *, staged: bool) -> Iterator[tuple[str, Chain]]:
    """The chains of a VRF; packets enter at ``vrf_N`` with a connection, else at
    ``untracked_N``."""
    yield f"vrf_{zone}", Chain(tuple(_tracked(zone, code)))
    yield f"opened_{zone}", Chain(tuple(_opened(zone)))
    counted = (x.counter(f"judged_{zone}"), x.verdict("goto", f"log_{zone}"))
    yield f"opened_judged_{zone}", Chain(((x.verdict("jump", KEEP),), counted))
    yield f"log_{zone}", Chain(tuple(_log(zone, code, staged=staged)))
    yield f"log_limited_{zone}", Chain(tuple(_log_limited(zone, code, staged=staged)))
    yield f"log_entry_{zone}", Chain(tuple(_log_entry(zone, code, staged=staged)))
    if staged:
        yield f"staged_{zone}", Chain(tuple(_staged(zone, code)))
    yield f"decide_{zone}", Chain(tuple(_decide(zone, code)))
    yield f"untracked_{zone}", Chain(tuple(_untracked(zone)))
    yield f"untracked_judged_{zone}", Chain(tuple(_untracked_judged(zone, code)))


def _tracked(zone: int, code: MarkCode) -> Iterator[Rule]:
    """What has a connection that no verdict allows: where it belongs."""
    # Former tables allowed it, or a flow that an ICMP error is about: it has another epoch.
    yield (*has_mark(code.allowed), x.verdict("goto", f"renew_{zone}"))
    # An ICMP error about such a connection is judged by itself: it opens nothing.
    about_another = (x.ct("state", 0), x.masked(0, RELATED), x.not_zero(0))
    yield (*about_another, x.verdict("goto", f"untracked_{zone}"))
    yield (*has_mark(code.denied), x.verdict("goto", f"again_{zone}"))
    # It has no mark, or another program's: it was never judged.
    opened = x.verdict("goto", f"opened_{zone}")
    yield (*opens_tcp(), opened)
    yield (x.ct("protocol", 0), x.equal(0, bytes((TCP,))), x.verdict("goto", f"older_{zone}"))
    yield (opened,)


def opens_tcp() -> Rule:
    """Go on only for a segment that opens a connection, SYN alone (RFC 9293 section 3.5)."""
    flags = x.transport_header("tcp flags", 13, 1, 0)
    syn = (flags, x.masked_bytes(0, OPENING), x.equal(0, SYN))
    return (x.meta("l4proto", 0), x.equal(0, bytes((TCP,))), *syn)


def _opened(zone: int) -> Iterator[Rule]:
    then = x.verdict("goto", f"opened_judged_{zone}")
    yield from exactly(zone, Slot.ENFORCED, then)
    yield from judged(zone, Slot.ENFORCED, OPENED)
    yield (then,)


def _log(zone: int, code: MarkCode, *, staged: bool) -> Iterator[Rule]:
    limited = x.verdict("goto", f"log_limited_{zone}")
    yield (x.limit_over(LOGGED_PER_SECOND, LOGGED_PER_SECOND), limited)
    yield from _log_entry(zone, code, staged=staged)


def _log_limited(zone: int, code: MarkCode, *, staged: bool) -> Iterator[Rule]:
    """Too many to log all: what a log rule asks for has a budget of its own."""
    asked = (x.meta("mark", 0), x.masked(0, LOG_BIT), x.not_zero(0))
    entry = x.verdict("goto", f"log_entry_{zone}")
    yield (*asked, x.limit(ASKED_PER_SECOND, ASKED_PER_SECOND), entry)
    yield (x.counter(f"log_dropped_{zone}"),)
    if staged:
        yield from judged(zone, Slot.STAGED, OPENED)
        yield _count_staged(zone)
    yield from _decide(zone, code)


def _log_entry(zone: int, code: MarkCode, *, staged: bool) -> Iterator[Rule]:
    """Log the verdict; with a staged one beside it twice, since a log holds one mark."""
    if not staged:
        yield (_entry(FLOW_GROUP, zone, code),)
        yield from _decide(zone, code)
        return
    judged_again = x.verdict("goto", f"staged_{zone}")
    yield (_entry(FLOW_GROUP, zone, code, AWAITED),)
    yield from exactly(zone, Slot.STAGED, judged_again)
    yield from judged(zone, Slot.STAGED, OPENED)
    yield (judged_again,)


def _staged(zone: int, code: MarkCode) -> Iterator[Rule]:
    """The mark is the staged verdict."""
    yield _count_staged(zone)
    yield (_entry(STAGED_GROUP, zone, code),)
    yield from _decide(zone, code)


def _count_staged(zone: int) -> Rule:
    refused = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.zero(0))
    return (*refused, x.counter(f"staged_denied_{zone}"))


def _entry(group: int, zone: int, code: MarkCode, more: str = "") -> Expression:
    return x.log(group, f"{code.log}{zone}{more}", SNAP, LOG_BATCH)


def _decide(zone: int, code: MarkCode) -> Iterator[Rule]:
    # From the connection: the mark may be the staged verdict by now.
    yield (*has_mark(code.allowed), x.verdict("accept"))
    yield (x.counter(f"denied_{zone}"), x.verdict("drop"))


def _untracked(zone: int) -> Iterator[Rule]:
    """A packet without a connection. The mark that it keeps is what the guards look at."""
    tcp, flags = (x.meta("l4proto", 0), x.equal(0, bytes((TCP,)))), 13
    opens_not = (x.transport_header("tcp flags", flags, 1, 0), x.masked_bytes(0, OPENING))
    older = x.verdict("goto", f"older_untracked_{zone}")
    yield (*tcp, *opens_not, x.compare(0, "!=", SYN), older)
    yield from judged(zone, Slot.ENFORCED, PACKET)
    yield (x.verdict("goto", f"untracked_judged_{zone}"),)


def _untracked_judged(zone: int, code: MarkCode) -> Iterator[Rule]:
    allows = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.not_zero(0))
    yield (*allows, x.constant(code.passed, 0), x.set_meta("mark", 0), x.verdict("accept"))
    yield (x.counter(f"judged_{zone}"),)
    yield (x.counter(f"denied_{zone}"),)
    yield (*entry_of_few(zone, code), x.verdict("drop"))
    yield (x.counter(f"log_dropped_{zone}"), x.verdict("drop"))


def entry_of_few(zone: int, code: MarkCode) -> Rule:
    """Log what may come with every packet, so many a second; else end the rule."""
    return (x.limit(ASKED_PER_SECOND, ASKED_PER_SECOND), _entry(FLOW_GROUP, zone, code))
