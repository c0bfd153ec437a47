"""Run a self-test: create its VRFs and ports, try each attack, remove VRFs and ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Protocol

from controlplane.model.events import Event, SelftestBegan, SelftestEnded
from controlplane.model.intent import NodeIntent
from controlplane.model.log import Log
from controlplane.model.selftest_report import (
    SelftestBusyError,
    SelftestReport,
    SelftestUnavailableError,
    TrialView,
    Verdict,
)
from controlplane.model.supervision import Part
from controlplane.router import Router
from pe.dataplane.reconciler import DataplaneReconciler
from pe.process import sysctl
from pe.selftest import access, core, labels, settings, sources
from pe.selftest.bench import SelftestBed
from pe.selftest.catalog import NOT_TESTED
from pe.selftest.maker import Maker
from pe.selftest.trial import Kit, Trial
from pe.selftest.world import BLUE, CE_PORTS, CORE, R2, RED, SelftestBedSettings, scratch

Outcome = asyncio.Future[list[TrialView]]

OPEN_SECONDS = 30.0
PAUSE = 0.01


class Configuration(Protocol):
    """Read the running configuration (``pe.launch.Reloader``)."""

    intent: NodeIntent
    digest: str

    @property
    def file(self) -> str:
        """Return the path of the file."""
        ...


class Selftest:
    """Run self-tests of one node, one at a time; ``emit`` sends events to the control plane."""

    def __init__(
        self, router: Router, agent: DataplaneReconciler, configuration: Configuration,
        emit: Callable[[list[Event]], None], log: Log, part: Part,
    ) -> None:  # fmt: skip
        self._router, self._agent, self._configuration = router, agent, configuration
        self._emit, self._log, self._part = emit, log, part
        self._busy = False

    async def run(self) -> SelftestReport:
        """Run one and remove all that it made, in every case. Raises SelftestUnavailableError."""
        if self._busy:
            raise SelftestBusyError("a selftest is under way already")
        intent = self._configuration.intent
        if not self._router.in_sync:
            raise SelftestUnavailableError("the node is not in sync with its kernel yet")
        self._busy, began = True, time.time()
        self._log("info", "selftest_started", {})
        # A caller who goes away ends neither the clearing up nor what comes before it half way.
        outcome: Outcome = asyncio.get_running_loop().create_future()
        self._part.spawn(self._make(intent, outcome))
        found = await asyncio.shield(outcome)
        return SelftestReport(
            node=intent.name, version=version("bulkhead"), kernel=" ".join(os.uname()[0:3:2]),
            config_file=self._configuration.file, config_digest=self._configuration.digest,
            began=began, ended=time.time(), trials=tuple(found),
        )  # fmt: skip

    async def _make(self, intent: NodeIntent, outcome: Outcome) -> None:
        try:
            outcome.set_result(await self._within_bench(intent))
        except SelftestUnavailableError as error:
            self._log("warning", "selftest_aborted", {"reason": str(error)})
            _refuse(outcome, error)
        except Exception as error:
            _refuse(outcome, error)
            raise
        finally:
            self._busy = False
            outcome.cancel()

    async def _within_bench(self, intent: NodeIntent) -> list[TrialView]:
        try:
            bench = SelftestBed(self._part)
        except OSError as error:
            raise SelftestUnavailableError(f"no ports can be made: {error}") from None
        with contextlib.closing(bench):
            try:
                self._emit([SelftestBegan(scratch(intent.asn))])
                await self._wait(self._is_open, "the scratch VRFs did not open")
                found = await self._try_all(bench, intent)
            except Exception:
                # Not where the whole node ends: then the next start takes it back.
                await self._take_back()
                raise
            await self._take_back()
        self._log_result(found)
        return found

    async def _take_back(self) -> None:
        self._emit([SelftestEnded()])
        await self._wait(self._is_closed, "the scratch VRFs did not close")

    def _log_result(self, found: list[TrialView]) -> None:
        counts = {v.value.replace(" ", "_"): sum(t.verdict is v for t in found) for v in Verdict}
        bad = counts["not_held"] + counts["unproven"]
        self._log("warning" if bad else "info", "selftest_ended", {**counts})

    def _is_open(self) -> bool:
        if self._router.scratch.refusal:
            raise SelftestUnavailableError(self._router.scratch.refusal)
        if self._router.scratch.labels is None or not self._agent.is_settled:
            return False
        ports = self._agent.state.ports()
        return all(name in ports and ports[name].up for name in (*CE_PORTS, CORE))

    def _is_closed(self) -> bool:
        if self._router.scratch.labels is not None or not self._agent.is_settled:
            return False
        return not self._agent.state.devices() & {RED, BLUE, R2}

    async def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                while not holds():
                    await self._agent.settled()
                    await asyncio.sleep(PAUSE)  # the event may not have come as far as the agent
        except TimeoutError:
            raise SelftestUnavailableError(otherwise) from None

    async def _try_all(self, bench: SelftestBed, intent: NodeIntent) -> list[TrialView]:
        found, kit = [], Kit(bench, self._agent.state.packets, sysctl.read)
        for trial in self._trials(Maker(bench, self._bed_settings(intent)), intent):
            if self._router.scratch.labels is None:
                raise SelftestUnavailableError("the configuration was changed meanwhile")
            found.append(await trial.judge(kit))
            await asyncio.sleep(0)
        found += [
            TrialView(requirement=name, sent="", verdict=Verdict.NOT_TESTED, evidence=reason)
            for name, reason in NOT_TESTED.items()
        ]
        return sorted(found, key=lambda t: order(t.requirement))

    def _trials(self, make: Maker, intent: NodeIntent) -> Iterator[Trial]:
        yield from core.trials(make)
        yield from labels.trials(make)
        yield from labels.tagged(make)
        yield from sources.trials(make)
        yield from access.trials(make)
        yield from settings.trials(
            self._agent.state.devices(), (CORE, *(port.name for port in intent.core_ports))
        )
        yield from access.floods(make)

    def _bed_settings(self, intent: NodeIntent) -> SelftestBedSettings:
        own = self._router.scratch.labels or {}
        red, blue = own.values()
        used = {*self._router.ledger.held.values(), *own.values()}
        block = intent.label_block
        unused = next((n for n in range(block.last, block.first, -1) if n not in used), block.last)
        return SelftestBedSettings(
            red=red, blue=blue, unused=unused,
            loopbacks=tuple(map(str, intent.loopbacks)),
            peers=tuple(str(peer.peer.address) for peer in intent.peers),
            in_use=tuple(sorted(used)),
        )  # fmt: skip


def _refuse(outcome: Outcome, error: Exception) -> None:
    outcome.set_exception(error)
    outcome.exception()  # the caller may have gone, and the loop complains of what it does not read


AREAS = ("ISO", "HIDE", "ACL", "CPP", "BGP", "LBL", "SPF", "INET", "MGMT", "TRN", "DOS", "FAIL")


def order(requirement: str) -> tuple[int, int]:
    """Return the sort key of a requirement: areas as in docs/security.md, then numbers."""
    area, _, number = requirement.partition("-")
    return AREAS.index(area), int(number)
