"""What a policy costs each packet, beside the same PE without one, or with a list of rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

from controlplane.segment.enforcer import Slot
from pe.agent import Agent
from pe.kernel import netlink as nl
from pe.kernel.nft import NETLINK_NETFILTER
from pe.segment.keeper import SegmentKeeper
from perf import segment_world as world
from perf.segment_node import VRF, ZONE, arrived, run
from perf.segment_report import BOTH, FEW, NEW, PLAIN, TRACKED
from perf.segment_results import Pace
from perf.segment_traffic import Traffic, send

ROUNDS, SHOTS = 4, 15
"""Each case is measured in so many short shots, and comes round so often."""
COUNT = {FEW: 10_000, NEW: 6_000}
SIZES = {"few entries": 2, "1,000 entries": 150, "50,000 entries": 10_000}
"""Nearly; how many there are is measured -> workloads."""


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration of the PE: entries of a policy, or rules of a list."""

    name: str
    workloads: int | None = None
    staged: bool = False
    tracked: bool = True
    rules: int = 0


CASES = (
    Case(PLAIN, tracked=False),
    Case(TRACKED, rules=1),
    *(Case(name, workloads) for name, workloads in SIZES.items()),
    Case(BOTH, SIZES["50,000 entries"], staged=True),
    Case("list of 100 rules", rules=100),
    Case("list of 1,000 rules", rules=1000),
)


async def paces(agent: Agent, keeper: SegmentKeeper, say: Callable[[str], None]) -> list[Pace]:
    """Every case with few flows and with new ones, round after round."""
    found: dict[tuple[str, str], list[float]] = {}
    lost: dict[tuple[str, str], int] = {}
    for number in range(ROUNDS):
        for case in CASES:
            undo = await _arrange(agent, keeper, case)
            for flows in (FEW, NEW):
                if case.name == PLAIN and flows == NEW:
                    continue
                shots = [_measure(flows, case.workloads or 2) for _ in range(SHOTS)]
                found.setdefault((case.name, flows), []).extend(pace for pace, _ in shots)
                missing = max(0, sum(gone for _, gone in shots))  # the core hears others, too
                lost[case.name, flows] = lost.get((case.name, flows), 0) + missing
                best, usual = max(shots)[0], median(pace for pace, _ in shots)
                say(f"  {number + 1} {case.name}, {flows}: {best:,.0f}/s, median {usual:,.0f}")
            await undo()
    return [
        Pace(name=name, flows=flows, rounds=tuple(rounds), lost=lost[name, flows])
        for (name, flows), rounds in found.items()
    ]


async def _arrange(
    agent: Agent, keeper: SegmentKeeper, case: Case
) -> Callable[[], Awaitable[None]]:
    if case.workloads is not None:
        tables = world.tables(case.workloads)
        keeper.submit(Slot.ENFORCED, tables)
        keeper.submit(Slot.STAGED, tables if case.staged else None)
        keeper.zones({VRF: ZONE})
        await keeper.settled()
    elif case.tracked:
        keeper.zones({})
        await keeper.settled()
        await agent.require_verdicts(frozenset({VRF}), frozenset())
        run("nft", "-f", "-", stdin=_list(case.rules))
    else:
        keeper.zones({})
        await keeper.settled()
        await agent.require_verdicts(frozenset(), frozenset())

    async def undo() -> None:
        if case.rules:
            run("nft", "delete", "table", "inet", "listed")
        keeper.zones({})
        await keeper.settled()
        await agent.require_verdicts(frozenset(), frozenset())

    return undo


def _list(rules: int) -> str:
    """Rules one after the other; the last of them lets the traffic through. A flow that was let
    through once is not looked up again, as is usual."""
    at = "inet listed"
    lines = [
        f"add table {at}",
        f"add chain {at} forward {{ type filter hook forward priority -10; policy accept; }}",
        f"add rule {at} forward ct mark 1 accept",
    ]
    lines += [
        f"add rule {at} forward ip saddr 10.1.0.0/24 ip daddr 10.2.{n // 250}.{n % 250} "
        f"udp dport {world.ALLOWED} accept"
        for n in range(rules - 1)
    ]
    lines.append(f"add rule {at} forward udp dport {world.ALLOWED} ct mark set 1 accept")
    return "\n".join(lines) + "\n"


def _measure(flows: str, workloads: int) -> tuple[float, int]:
    if flows == NEW:
        forget_connections()
    else:
        send(_traffic(flows, 2000, workloads))
    before = arrived()
    pace = send(_traffic(flows, COUNT[flows], workloads))
    return pace, COUNT[flows] - (arrived() - before)


def forget_connections() -> None:
    """Empty connection tracking, as ``conntrack -F`` does."""
    opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    opened.request(1 << 8 | 2, 0, bytes(4))
    opened.close()


def _traffic(flows: str, count: int, workloads: int) -> Traffic:
    """Few: a thousand connections from one workload to another. New: every packet one more."""
    if flows == FEW:
        return Traffic(
            count, ("10.1.0.0", "10.1.0.0"), ("10.1.0.5", "10.1.0.5"), (2000, 2999),
            (world.ALLOWED, world.ALLOWED),
        )  # fmt: skip
    return Traffic(
        count, ("10.1.0.0", "10.1.0.4"), ("10.1.0.5", world.last_address(workloads)),
        (1024, 65000), (world.ALLOWED, world.ALLOWED), ("IPSRC_RND", "IPDST_RND"),
    )  # fmt: skip
