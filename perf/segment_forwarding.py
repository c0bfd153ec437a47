"""What a policy costs each packet, beside the same PE without one, or with a list of rules.

Every configuration has a PE of its own, and all of them are there all the time: in each round
every one of them is sent the same short burst, one right after the other, so that other load
the machine does meets them alike. What is compared are figures of the same round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

from labs.namespaces import inside
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from perf import segment_world as world
from perf.segment_names import AGAIN, BOTH, FEW, NEW, PLAIN, TOLD, TRACKED, listed_name, policy_name
from perf.segment_node import CLIENT, Site, sites
from perf.segment_pe import Case, Process
from perf.segment_results import Pace
from perf.segment_traffic import Traffic, answer, send

Say = Callable[[str], None]
SIZES = tuple(world.SIZES)
LARGEST = SIZES[-1]
QUEUE = Path("/proc/sys/net/core/netdev_max_backlog")
CONNECTIONS = (2000, 2999)
"""Source ports of the few flows."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. A list of rules gets fewer packets the longer it is: ``patience`` is
    how many rules all packets of a burst together may be asked at most."""

    few_rounds: int = 120
    few_packets: int = 20_000
    new_rounds: int = 25
    new_packets: int = 6_000
    patience: int = 20_000_000
    sizes: tuple[int, ...] = SIZES


def cases(sizes: Sequence[int]) -> list[Case]:
    """All configurations; of the reference there are two, which shows what a difference means."""
    largest = world.SIZES[sizes[-1]]
    policies = [
        Case(name=policy_name(size), workloads=world.SIZES[size][0], tiers=world.SIZES[size][1])
        for size in sizes
    ]
    return [
        Case(name=PLAIN),
        Case(name=TRACKED, rules=1),
        Case(name=AGAIN, rules=1),
        *policies,
        Case(name=BOTH, workloads=largest[0], tiers=largest[1], staged=True),
        *(Case(name=listed_name(size), rules=size) for size in sizes),
    ]


@dataclass
class Bed:
    """A PE in its configuration, and what was found."""

    site: Site
    case: Case
    process: Process
    rounds: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    def measure(self, flows: str, traffic: Traffic) -> None:
        """One burst."""
        before = self.site.arrived()
        pace = send(self.site, traffic)
        arrived = self.site.arrived() - before
        self.rounds.setdefault(flows, []).append(pace * min(1.0, arrived / traffic.count))
        sent, come = self.counts.get(flows, (0, 0))
        self.counts[flows] = [sent + traffic.count, come + arrived]

    def few(self, count: int) -> Traffic:
        """A thousand connections from one workload to another, over and over."""
        there = world.address(1)
        return Traffic(count, (CLIENT, CLIENT), (there, there), CONNECTIONS, world.ALLOWED)

    def new(self, plan: Plan) -> Traffic:
        """Every packet opens one more, to any of the workloads; where one rule allows all, to as
        many addresses as the largest policy has."""
        workloads = world.SIZES[plan.sizes[-1]][0] if self.case.rules == 1 else self.case.workloads
        last = workloads * world.ADDRESSES - 1 if workloads else self.case.rules
        count = min(plan.new_packets, max(200, plan.patience // (self.case.rules or 1)))
        ends = (world.address(1), world.address(last))
        return Traffic(count, (CLIENT, CLIENT), ends, (1024, 65000), world.ALLOWED, ("IPDST_RND",))


def paces(say: Say, plan: Plan) -> list[Pace]:
    """Measure every configuration with few flows, with new ones, and with new ones that are
    logged to the node."""
    with _beds(cases(plan.sizes), say) as beds, _short_queue():
        for number in range(plan.few_rounds):
            for bed in _in_turn(beds, number):
                bed.measure(FEW, bed.few(plan.few_packets))
        _say(say, beds, FEW)
        tracking = [bed for bed in beds if bed.case.name != PLAIN]
        for number in range(plan.new_rounds):
            for bed in _in_turn(tracking, number):
                forget_connections(bed.site)
                bed.measure(NEW, bed.new(plan))
        _say(say, tracking, NEW)
        under_policy = [bed for bed in beds if bed.case.workloads]
        for bed in under_policy:
            bed.process.listen()
        for number in range(plan.new_rounds):
            for bed in _in_turn(under_policy, number):
                with bed.process.awake():
                    forget_connections(bed.site)
                    bed.measure(TOLD, bed.new(plan))
        _say(say, under_policy, TOLD)
        return [_pace(bed, flows) for bed in beds for flows in bed.rounds]


@contextlib.contextmanager
def _short_queue() -> Iterator[None]:
    """Have packets that are too many dropped, not dealt with when the generator is done."""
    before = QUEUE.read_text()
    QUEUE.write_text("64")
    try:
        yield
    finally:
        QUEUE.write_text(before)


@contextlib.contextmanager
def _beds(wanted: Sequence[Case], say: Say) -> Iterator[list[Bed]]:
    with contextlib.ExitStack() as stack:
        made: list[Bed] = []
        for site, case in zip(stack.enter_context(sites(len(wanted))), wanted, strict=True):
            process = stack.enter_context(Process(site, case))
            bed = Bed(site, case, process)
            few = bed.few(2 * (CONNECTIONS[1] - CONNECTIONS[0] + 1))
            send(site, few)
            answer(site, few)
            made.append(bed)
            say(f"  {case.name}: {process.size} elements or rules")
        yield made


def _in_turn(beds: Sequence[Bed], number: int) -> Sequence[Bed]:
    """Forward and backward: no case is always first or always after the same one."""
    return beds if number % 2 == 0 else beds[::-1]


def _pace(bed: Bed, flows: str) -> Pace:
    sent, arrived = bed.counts[flows]
    return Pace(
        name=bed.case.name, flows=flows, rounds=tuple(bed.rounds[flows]), size=bed.process.size,
        sent=sent, arrived=arrived,
    )  # fmt: skip


def _say(say: Say, beds: Sequence[Bed], flows: str) -> None:
    for bed in beds:
        found = bed.rounds[flows]
        sent, arrived = bed.counts[flows]
        words = f"median {median(found):,.0f}/s, best {max(found):,.0f}/s"
        say(f"  {bed.case.name}, {flows} flows: {words}, {arrived:,} of {sent:,} arrived")


def forget_connections(site: Site) -> None:
    """Empty connection tracking, as ``conntrack -F`` does."""
    with inside(site.pe):
        opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    opened.request(1 << 8 | 2, 0, bytes(4))
    opened.close()
