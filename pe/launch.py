"""Start a node from its configuration file, and reload it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.api.compute.pool import policy_pool
from controlplane.api.server import both, serve_api
from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.services.policy_services import segment_services
from controlplane.api.services.selftest_service import selftest_service
from controlplane.api.tickets import Tickets
from controlplane.model.flow import FlowRecord
from controlplane.model.intent import NodeIntent
from controlplane.model.log import Log
from controlplane.model.speaker_user import speaker_uid
from controlplane.policy.controller import PolicyController
from controlplane.router import Router
from controlplane.speaker.pool import SpeakerPool
from controlplane.store import StoreError, open_store
from pe.config.reload import Reloader
from pe.dataplane.reconciler import DataplaneReconciler
from pe.event_queue import EventQueue
from pe.executor import Executor
from pe.metrics.service import Metrics
from pe.node import Node
from pe.policy.manager import PolicyMapManager
from pe.policy.verdict_gate import VerdictGate
from pe.process import clock, service_manager
from pe.process.exception_hooks import to_journal
from pe.process.gc_tuning import freeze_heap
from pe.process.journal import LEVELS, Journal
from pe.process.loop_lag import LagHistogram, timed_loop
from pe.process.service_manager import ServiceManager
from pe.selftest.run import Selftest
from pe.supervisor import PartFailedError, Supervisor
from pe.view.health import NodeHealth
from pe.view.node_view import LiveView

REPORT_SECONDS = 0.5
"""Between two reports to the service manager."""

__all__ = ["AlreadyRunningError", "PartFailedError", "StoreError", "run"]


class AlreadyRunningError(Exception):
    """Report that another process runs this node."""


def take_lock(intent: NodeIntent) -> int:
    """Hold the node's lock for as long as the process lives; the descriptor.

    Raises AlreadyRunningError. The kernel lets go of it at ``kill -9`` as well.
    """
    folder = Path(intent.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AlreadyRunningError(
            f"a node is already running with {folder}; stop it, or set another run-dir"
        ) from None
    return lock


def line_writer(journal: Journal) -> Log:
    """Return the journal as the adapters know it."""

    def write(level: str, event: str, fields: dict[str, str | int]) -> None:
        journal.log(LEVELS[level], event, **fields)

    return write


def run(intent: NodeIntent, path: Path, journal: Journal, disabled_guards: frozenset[str]) -> None:
    """Run one PE until SIGTERM or SIGINT. Raises AlreadyRunningError, StoreError, OSError, and
    PartFailedError if a part of it failed for good."""
    lock, lag = take_lock(intent), LagHistogram()
    try:
        with asyncio.Runner(loop_factory=lambda: timed_loop(lag)) as runner:
            runner.run(_run(intent, path.resolve(), journal, disabled_guards, lag))
    finally:
        os.close(lock)


async def _run(
    intent: NodeIntent, path: Path, journal: Journal, disabled_guards: frozenset[str],
    lag: LagHistogram,
) -> None:  # fmt: skip
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = line_writer(journal)
    manager = service_manager.from_environment(log)
    async with AsyncExitStack() as around:
        around.enter_context(to_journal(journal))
        supervisor = Supervisor(log, on_turn=manager.turn_completed)
        await around.enter_async_context(supervisor)
        ending = await around.enter_async_context(AsyncExitStack())
        await _start(intent, path, journal, disabled_guards, lag, supervisor, manager, ending)
        ending.callback(manager.stopping)
        await stop.wait()


async def _start(
    intent: NodeIntent, path: Path, journal: Journal, disabled_guards: frozenset[str],
    lag: LagHistogram, supervisor: Supervisor, manager: ServiceManager, ending: AsyncExitStack,
) -> None:  # fmt: skip
    """Wire the node and start its parts; ``ending`` stops them in the reverse order."""
    queue, log = EventQueue(), line_writer(journal)
    store = open_store(Path(intent.state_dir))
    ending.callback(store.close)
    router = Router(store.load_labels(), store.load_policy(), clock.now())
    actor = DataplaneReconciler(
        emit=queue.put, log=log, part=supervisor.part("dataplane"),
        disabled_guards=disabled_guards, spare_ports=frozenset(intent.management_ports),
    )  # fmt: skip
    speakers = SpeakerPool(
        run_dir=Path(intent.run_dir), user=intent.speaker_user,
        uid_of=partial(speaker_uid, intent.speaker_uids, intent.name), router_id=intent.router_id,
        emit=queue.put, log=log, part=supervisor.part("speaker"), is_full=queue.is_full,
    )  # fmt: skip
    gate = VerdictGate(actor)
    maps = PolicyMapManager(
        log=log, require=gate.require, rulesets=actor.rulesets,
        part=supervisor.part("policy"), flows=supervisor.part("flows"),
    )  # fmt: skip
    tickets = Tickets(queue.put)
    policy = PolicyAccess(router.policy, tickets.submit, intent)
    executor = Executor(
        store, actor, maps, gate, speakers, emit=queue.put, log=log, part=supervisor.part("policy"),
        answer=tickets.resolve, publish=policy.publish,
    )  # fmt: skip
    node = Node(router, actor, speakers, executor, queue, supervisor.part("router"))
    reloader = Reloader(
        path, intent, journal, supervisor.part("reload"), manager, submit=tickets.submit
    )
    tally = RpcMetrics()
    health = NodeHealth(supervisor, router, actor, maps, speakers)
    heap = ending.enter_context(freeze_heap())
    view = LiveView(
        node, actor, speakers, reloader, maps, tally, journal, health, supervisor, lag, heap
    )
    await maps.start()
    ending.push_async_callback(maps.stop)
    maps.watch(partial(_take_flows, router.policy, log))
    selftest = Selftest(router, actor, reloader, queue.put, log, supervisor.part("selftest"))
    await _serve_api(view, policy, selftest, intent, journal, tally, supervisor, reloader, ending)
    await _serve_metrics(view, intent, journal, supervisor, reloader, ending)
    supervisor.part("process").start(heap.follow)
    if manager.is_there:
        supervisor.part("process").start(lambda: _report(manager, health))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.on_signal)
    ending.push_async_callback(actor.stop)
    ending.push_async_callback(speakers.stop)
    turns = supervisor.part("router").start(lambda: node.run(intent))
    ending.callback(turns.cancel)


def _take_flows(
    policy: PolicyController, log: Log, records: Sequence[FlowRecord], lost: int
) -> None:
    for line in policy.flows_seen(records, lost, time.time()):
        log(line.level, line.event, line.fields)


async def _serve_api(
    view: LiveView, policy: PolicyAccess, selftest: Selftest, intent: NodeIntent, journal: Journal,
    tally: RpcMetrics, supervisor: Supervisor, reloader: Reloader, ending: AsyncExitStack,
) -> None:  # fmt: skip
    pool = policy_pool(
        policy, node=intent.name, user=intent.speaker_user, log=line_writer(journal),
        part=supervisor.part("queries"),
    )  # fmt: skip
    pool.start()
    ending.push_async_callback(pool.stop)
    api = await serve_api(
        view, intent, journal, config_folder=reloader.path.parent, tally=tally,
        part=supervisor.part("api"),
        more_services=both(segment_services(policy, view, pool), selftest_service(selftest)),
    )  # fmt: skip
    ending.push_async_callback(api.stop)
    reloader.followers["API"] = api.apply


async def _serve_metrics(
    view: LiveView, intent: NodeIntent, journal: Journal, supervisor: Supervisor,
    reloader: Reloader, ending: AsyncExitStack,
) -> None:  # fmt: skip
    def report(text: str) -> None:
        journal.warning("metrics_failed", reason=text)

    metrics = Metrics(view, report, supervisor.part("metrics"))
    ending.push_async_callback(metrics.stop)
    reloader.followers["metrics"] = lambda intent: metrics.apply(intent.metrics_socket)
    try:
        await metrics.apply(intent.metrics_socket)
    except OSError as error:  # the node is worth more than its metrics
        report(str(error))


async def _report(manager: ServiceManager, health: NodeHealth) -> None:
    """Keep systemd informed: READY once the initial sync has opened the ports, and the status."""
    while True:
        if not manager.is_ready and health.is_open:
            manager.ready()
        manager.status(health.sentence)
        await asyncio.sleep(REPORT_SECONDS)
