"""What becomes of a new flow once there is a verdict: it is kept with the connection, told to
whoever listens, and done. Pure.

The mark of a connection is the verdict that opened it.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.verdict import ALLOW_BIT, LOG_BIT
from controlplane.model.verdict_tables import Slot
from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.model import Chain, Rule
from pe.policy.lookup import allowed, exactly, judged

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


def chains(zone: int, *, staged: bool) -> Iterator[tuple[str, Chain]]:
    """The chains of a VRF; packets enter at ``vrf_N`` with a connection, at ``stray_N`` without."""
    yield f"vrf_{zone}", Chain(tuple(_tracked(zone)))
    yield f"told_{zone}", Chain(tuple(_told(zone, staged=staged)))
    yield f"crowded_{zone}", Chain(tuple(_crowded(zone, staged=staged)))
    yield f"tell_{zone}", Chain(tuple(_tell(zone, staged=staged)))
    if staged:
        yield f"weighed_{zone}", Chain(tuple(_weighed(zone)))
    yield f"stray_{zone}", Chain(tuple(_stray(zone)))


def _tracked(zone: int) -> Iterator[Rule]:
    keep = (x.meta("mark", 0), x.set_ct("mark", 0), x.counter(f"judged_{zone}"))
    told = x.verdict("goto", f"told_{zone}")
    yield from exactly(zone, Slot.ENFORCED, *keep, told)
    yield from judged(zone, Slot.ENFORCED)
    yield (*keep, told)


def _told(zone: int, *, staged: bool) -> Iterator[Rule]:
    crowded = x.verdict("goto", f"crowded_{zone}")
    yield (x.limit_over(TOLD_PER_SECOND, TOLD_PER_SECOND), crowded)
    yield from _tell(zone, staged=staged)


def _crowded(zone: int, *, staged: bool) -> Iterator[Rule]:
    """Too many to tell of all: what a log rule asks for has a budget of its own."""
    noted = (x.meta("mark", 0), x.masked(0, LOG_BIT), x.not_zero(0))
    tell = x.verdict("goto", f"tell_{zone}")
    yield (*noted, x.limit(NOTED_PER_SECOND, NOTED_PER_SECOND), tell)
    yield (x.counter(f"untold_{zone}"),)
    if staged:
        yield from judged(zone, Slot.STAGED)
        yield _weigh(zone)
    yield from _decide(zone)


def _tell(zone: int, *, staged: bool) -> Iterator[Rule]:
    """Log the verdict; with a staged one beside it twice, since a log holds one mark."""
    if not staged:
        yield (_log(FLOW_GROUP, str(zone)),)
        yield from _decide(zone)
        return
    weighed = x.verdict("goto", f"weighed_{zone}")
    yield (_log(FLOW_GROUP, f"{zone}{AWAITED}"),)
    yield from exactly(zone, Slot.STAGED, weighed)
    yield from judged(zone, Slot.STAGED)
    yield (weighed,)


def _weighed(zone: int) -> Iterator[Rule]:
    """The mark is the staged verdict."""
    yield _weigh(zone)
    yield (_log(STAGED_GROUP, str(zone)),)
    yield from _decide(zone)


def _weigh(zone: int) -> Rule:
    refused = (x.meta("mark", 0), x.masked(0, ALLOW_BIT), x.zero(0))
    return (*refused, x.counter(f"staged_denied_{zone}"))


def _log(group: int, prefix: str) -> Expression:
    return x.log(group, prefix, SNAP, LOG_BATCH)


def _decide(zone: int) -> Iterator[Rule]:
    # From the connection: the mark may be the staged verdict by now.
    yield allowed(x.ct("mark", 0))
    yield (x.counter(f"denied_{zone}"), x.verdict("drop"))


def _stray(zone: int) -> Iterator[Rule]:
    """A packet without a connection. The mark that it keeps is what the guards look at."""
    yield from judged(zone, Slot.ENFORCED)
    yield allowed(x.meta("mark", 0))
    yield (x.counter(f"judged_{zone}"),)
    yield (x.counter(f"denied_{zone}"),)
    yield (
        x.limit(NOTED_PER_SECOND, NOTED_PER_SECOND),
        _log(FLOW_GROUP, str(zone)),
        x.verdict("drop"),
    )
    yield (x.counter(f"untold_{zone}"), x.verdict("drop"))
