"""One PE in one configuration: ``python -m perf.segment_pe NUMBER CASE``, CASE as JSON.

Run in the PE's namespace. Prints a line with the number of elements (of the maps, or rules of a
list) once the kernel holds it all, then goes on as a node does until its input ends; from a line
of input on it listens to new flows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec

from controlplane.model.verdict_tables import Slot
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.insight.rule_names import by_number
from pe.dataplane.reconciler import DataplaneReconciler
from pe.policy.manager import PolicyMapManager
from pe.supervisor import Supervisor
from perf import segment_world as world
from perf.segment_node import VRF, ZONE, Site, desired, run, settle_neighbours


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration: workloads under policy, or a list of rules behind connection tracking,
    or neither."""

    name: str
    workloads: int = 0
    tiers: int = world.TIERS
    staged: bool = False
    rules: int = 0


class Process:
    """Such a process; it only runs when it is awake. The kernel goes on all the time."""

    def __init__(self, site: Site, case: Case) -> None:
        words = [str(site.number), msgspec.json.encode(case).decode()]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", site.pe, sys.executable, "-m", "perf.segment_pe", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._line()
        if not line.strip().isdigit():
            raise RuntimeError(f"{case.name}: the PE did not come up: {line}")
        self.size = int(line)
        self._signal(signal.SIGSTOP)

    def listen(self) -> None:
        """Report new flows to it from now on."""
        with self.awake():
            assert self._process.stdin
            self._process.stdin.write("listen\n")
            self._process.stdin.flush()
            self._line()

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Have it run meanwhile."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def _signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGCONT)
        self._process.communicate()


class Half:
    """An agent and a keeper of verdict tables, as in a node, with the VRF and its routes."""

    def __init__(self, supervisor: Supervisor) -> None:
        part = supervisor.part("dataplane")
        self.agent = DataplaneReconciler(emit=lambda _: None, log=log, part=part)
        self.keeper = PolicyMapManager(
            log=log,
            require=self.agent.require_verdicts,
            rulesets=self.agent.rulesets,
            part=supervisor.part("policy"),
            flows=supervisor.part("flows"),
        )

    async def start(self, site: Site) -> None:
        """Bring it up, without a policy."""
        await self.keeper.start()
        await self.agent.start()
        self.agent.submit(desired())
        self.agent.mark_in_sync()
        await self.agent.settled()
        settle_neighbours(site)

    async def stop(self) -> None:
        """End; the kernel goes on."""
        await self.keeper.stop()
        await self.agent.stop()

    async def take(self, case: Case) -> int:
        """Have a configuration; its elements or rules."""
        if case.workloads:
            tables = world.tables(case.workloads, case.tiers)
            self.keeper.submit_bindings(world.source_bindings(case.workloads))
            self.keeper.submit(Slot.ENFORCED, tables)
            self.keeper.submit(Slot.STAGED, tables if case.staged else None)
            self.keeper.zones({VRF: ZONE})
            await self.keeper.settled()
            return tables.size()
        if case.rules:
            await self.agent.require_verdicts(frozenset({VRF}), frozenset())
            await asyncio.to_thread(run, "nft", "-f", "-", stdin=listed(case.rules))
        return case.rules


def listed(rules: int) -> str:
    """A firewall of rules one after the other, each for one address that may be asked, behind the
    one that accepts what is established already."""
    at = "inet listed"
    head = (
        f"add table {at}\n"
        f"add chain {at} forward {{ type filter hook forward priority -10; policy drop; }}\n"
        f"add rule {at} forward ct state established,related accept\n"
    )
    if rules == 1:
        return head + f"add rule {at} forward udp dport {world.ALLOWED} accept\n"
    return head + "".join(
        f"add rule {at} forward ip daddr {world.address(number)} udp dport {world.ALLOWED} accept\n"
        for number in range(1, rules + 1)
    )


async def _serve(site: Site, case: Case) -> None:
    async with Supervisor(log) as supervisor:
        half, book = Half(supervisor), FlowBook()
        await half.start(site)
        print(await half.take(case), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            half.keeper.watch(
                lambda records, lost: book.take(records, lost, 0.0, by_number, by_number)
            )
            print("listening", flush=True)
        await half.stop()


def log(level: str, event: str, fields: dict[str, str | int]) -> None:
    """Write a line of the PE's journal."""
    if level != "debug":
        sys.stderr.write(f"  {level} {event} {json.dumps(fields)}\n")


def main(argv: Sequence[str]) -> int:
    """Be that PE."""
    number, case = argv
    asyncio.run(_serve(Site(int(number)), msgspec.json.decode(case, type=Case)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
