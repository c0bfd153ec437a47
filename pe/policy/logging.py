"""What becomes of a new flow once there is a verdict: the connection keeps it, nflog reports it,
and it is carried out. Pure.

The mark of a connection is the verdict that opened it.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.protocols import TCP
from controlplane.model.verdict import ALLOW_BIT, LOG_BIT
from controlplane.model.verdict_tables import Slot
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, Rule
from pe.observe.log_entry import AWAITED, FLOW_GROUP, SNAP, STAGED_GROUP
from pe.policy.lookup import allowed, exactly, judged
from pe.policy.reading import OPENED, PACKET

LOG_BATCH = 32
RELATED = 1 << 2
"""NF_CT_STATE_BIT(IP_CT_RELATED)."""
SYN, OPENING = b"\x02", b"\x17"
"""Of the flags of TCP: SYN, and FIN, SYN, RST and ACK."""
LOGGED_PER_SECOND, ASKED_PER_SECOND = 20_000, 2_000
"""Of a VRF: beyond that flows are counted and not logged, so that one cannot drown the others.
Flows that a log rule asks for have a share of their own."""


def chains(zone: int, *, staged: bool) -> Iterator[tuple[str, Chain]]:
    """The chains of a VRF; packets enter at ``vrf_N`` with a connection, else at
    ``untracked_N``."""
    yield f"vrf_{zone}", Chain(tuple(_tracked(zone)))
    yield f"opened_{zone}", Chain(tuple(_opened(zone)))
    yield f"log_{zone}", Chain(tuple(_log(zone, staged=staged)))
    yield f"log_limited_{zone}", Chain(tuple(_log_limited(zone, staged=staged)))
    yield f"log_entry_{zone}", Chain(tuple(_log_entry(zone, staged=staged)))
    if staged:
        yield f"staged_{zone}", Chain(tuple(_staged(zone)))
    yield f"decide_{zone}", Chain(tuple(_decide(zone)))
    yield f"untracked_{zone}", Chain(tuple(_untracked(zone)))
    yield f"untracked_judged_{zone}", Chain(tuple(_untracked_judged(zone)))


def _tracked(zone: int) -> Iterator[Rule]:
    """What has a connection that no verdict allows: where it belongs."""
    # An ICMP error about such a connection is judged by itself: it opens nothing.
    about_another = (x.ct("state", 0), x.masked(0, RELATED), x.not_zero(0))
    yield (*about_another, x.verdict("goto", f"untracked_{zone}"))
    yield (x.ct("mark", 0), x.not_zero(0), x.verdict("goto", f"again_{zone}"))
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
    keep = (x.meta("mark", 0), x.set_ct("mark", 0), x.counter(f"judged_{zone}"))
    log = x.verdict("goto", f"log_{zone}")
    yield from exactly(zone, Slot.ENFORCED, *keep, log)
    yield from judged(zone, Slot.ENFORCED, OPENED)
    yield (*keep, log)


def _log(zone: int, *, staged: bool) -> Iterator[Rule]:
    limited = x.verdict("goto", f"log_limited_{zone}")
    yield (x.limit_over(LOGGED_PER_SECOND, LOGGED_PER_SECOND), limited)
    yield from _log_entry(zone, staged=staged)


def _log_limited(zone: int, *, staged: bool) -> Iterator[Rule]:
    """Too many to log all: what a log rule asks for has a budget of its own."""
    asked = (x.meta("mark", 0), x.masked(0, LOG_BIT), x.not_zero(0))
    entry = x.verdict("goto", f"log_entry_{zone}")
    yield (*asked, x.limit(ASKED_PER_SECOND, ASKED_PER_SECOND), entry)
    yield (x.counter(f"log_dropped_{zone}"),)
    if staged:
        yield from judged(zone, Slot.STAGED, OPENED)
        yield _count_staged(zone)
    yield from _decide(zone)


def _log_entry(zone: int, *, staged: bool) -> Iterator[Rule]:
    """Log the verdict; with a staged one beside it twice, since a log holds one mark."""
    if not staged:
        yield (_entry(FLOW_GROUP, str(zone)),)
        yield from _decide(zone)
        return
    judged_again = x.verdict("goto", f"staged_{zone}")
    yield (_entry(FLOW_GROUP, f"{zone}{AWAITED}"),)
    yield from exactly(zone, Slot.STAGED, judged_again)
    yield from judged(zone, Slot.STAGED, OPENED)
    yield (judged_again,)


def _staged(zone: int) -> Iterator[Rule]:
    """The mark is the staged verdict."""
    yield _count_staged(zone)
    yield (_entry(STAGED_GROUP, str(zone)),)
    yield from _decide(zone)


def _count_staged(zone: int) -> Rule:
    refused = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.zero(0))
    return (*refused, x.counter(f"staged_denied_{zone}"))


def _entry(group: int, prefix: str) -> Expression:
    return x.log(group, prefix, SNAP, LOG_BATCH)


def _decide(zone: int) -> Iterator[Rule]:
    # From the connection: the mark may be the staged verdict by now.
    yield allowed(x.ct("mark", 0))
    yield (x.counter(f"denied_{zone}"), x.verdict("drop"))


def _untracked(zone: int) -> Iterator[Rule]:
    """A packet without a connection. The mark that it keeps is what the guards look at."""
    tcp, flags = (x.meta("l4proto", 0), x.equal(0, bytes((TCP,)))), 13
    opens_not = (x.transport_header("tcp flags", flags, 1, 0), x.masked_bytes(0, OPENING))
    older = x.verdict("goto", f"older_untracked_{zone}")
    yield (*tcp, *opens_not, x.compare(0, "!=", SYN), older)
    yield from judged(zone, Slot.ENFORCED, PACKET)
    yield (x.verdict("goto", f"untracked_judged_{zone}"),)


def _untracked_judged(zone: int) -> Iterator[Rule]:
    yield allowed(x.meta("mark", 0))
    yield (x.counter(f"judged_{zone}"),)
    yield (x.counter(f"denied_{zone}"),)
    yield (*entry_of_few(zone), x.verdict("drop"))
    yield (x.counter(f"log_dropped_{zone}"), x.verdict("drop"))


def entry_of_few(zone: int) -> Rule:
    """Log what may come with every packet, so many a second; else end the rule."""
    return (x.limit(ASKED_PER_SECOND, ASKED_PER_SECOND), _entry(FLOW_GROUP, str(zone)))
