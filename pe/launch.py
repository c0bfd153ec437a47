"""From a configuration file to a running node, and its reloads."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Coroutine
from pathlib import Path

import msgspec

from controlplane.api.access.rpc_metrics import RpcMetrics
from controlplane.api.compute.pool import policy_pool
from controlplane.api.server import ApiServer, both, serve_api
from controlplane.api.services.policy_services import segment_services
from controlplane.api.services.selftest_service import selftest_service
from controlplane.model.events import IntentChanged
from controlplane.model.intent import NodeIntent
from controlplane.model.view import ReloadRefusedError, ReloadReport
from controlplane.router import Router
from controlplane.speaker.pool import SpeakerPool
from controlplane.store import StoreError, open_store
from pe.config import ConfigErrors, read_config
from pe.dataplane.reconciler import DataplaneReconciler
from pe.event_queue import EventQueue
from pe.metrics.service import Metrics
from pe.node import Log, Node, run_until_signal
from pe.policy_control import Segmentation
from pe.process import clock
from pe.process import gc_tuning as collector
from pe.process.journal import LEVELS, Journal
from pe.selftest.run import Selftest
from pe.view.node_view import LiveView

# What is part of the node's identity: changing it under running sessions and locks would leave
# half of it behind, so a reload refuses and says what to do.
FIXED = (
    "name",
    "router_id",
    "asn",
    "loopback",
    "loopback6",
    "management_ports",
    "run_dir",
    "state_dir",
    "speaker_user",
    "segment_function",
)


__all__ = ["AlreadyRunningError", "Reloader", "StoreError", "run"]


class AlreadyRunningError(Exception):
    """Another process runs this node."""


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


class Reloader:
    """Reads the configuration again and hands it to the node, or refuses it whole."""

    def __init__(
        self, path: Path, intent: NodeIntent, router: Router, inbox: EventQueue, journal: Journal
    ) -> None:
        self._router = router
        self._api: ApiServer | None = None
        self._metrics: Metrics | None = None
        self.digest = _digest(path)
        self._telling: set[asyncio.Task[None]] = set()
        self.path = path
        self.intent = intent
        self.loaded = time.time()
        self._inbox = inbox
        self._journal = journal

    @property
    def file(self) -> str:
        """Where the configuration is read from."""
        return str(self.path)

    def attach(self, api: ApiServer, metrics: Metrics) -> None:
        """Grants, socket mode, the TCP listener and the metrics follow a reload too."""
        self._api, self._metrics = api, metrics

    def _tell_others(self, intent: NodeIntent) -> None:
        if self._api is not None:
            self._spawn(self._api.apply(intent))
        if self._metrics is not None:
            self._spawn(self._metrics.apply(intent.metrics_socket))

    def _spawn(self, telling: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def reload(self) -> ReloadReport:
        """Apply the file as a difference. Raises ReloadRefusedError with every error."""
        try:
            found = read_config(self.path)
        except ConfigErrors as errors:
            raise ReloadRefusedError(tuple(str(error) for error in errors.errors)) from None
        self._refuse_identity_change(found.intent)
        reason = self._router.why_not(found.intent, clock.now())
        if reason:
            raise ReloadRefusedError((f"{self.path}: {reason}",))
        changes = describe(self.intent, found.intent)
        self.intent, self.loaded, self.digest = found.intent, time.time(), _digest(self.path)
        if changes:
            self._inbox.put([IntentChanged(found.intent)])
        self._journal.set_level(found.intent.log_level)
        self._tell_others(found.intent)
        self._journal.info("configuration_loaded", file=str(self.path), changes=len(changes))
        return ReloadReport(changes=changes, warnings=tuple(map(str, found.warnings)))

    def on_signal(self) -> None:
        """SIGHUP: as ``pe reload``, with the refusal in the log."""
        try:
            self.reload()
        except ReloadRefusedError as refused:
            for error in refused.errors:
                self._journal.error("configuration_refused", reason=error)

    def _refuse_identity_change(self, new: NodeIntent) -> None:
        changed = [f for f in FIXED if getattr(self.intent, f) != getattr(new, f)]
        if changed:
            raise ReloadRefusedError(
                tuple(
                    f"{self.path}: {f.replace('_', '-')} cannot change while the node runs;"
                    " restart it with `pe run`"
                    for f in changed
                )
            )


def _digest(path: Path) -> str:
    """SHA-256 of a file that was just read, in hex; "" if it is gone by now."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def describe(old: NodeIntent, new: NodeIntent) -> tuple[str, ...]:
    """What a reload changes, a line each."""
    lines = [
        *_keyed("vrf", {v.name: v for v in old.vrfs}, {v.name: v for v in new.vrfs}),
        *_keyed("peer", {str(p.peer): p for p in old.peers}, {str(p.peer): p for p in new.peers}),
        *_keyed(
            "core port", {p.name: p for p in old.core_ports}, {p.name: p for p in new.core_ports}
        ),
    ]
    told = {"vrfs", "peers", "core_ports"}
    rest = [f for f in msgspec.structs.fields(NodeIntent) if f.name not in told]
    lines += [
        f"{f.name.replace('_', '-')} changed"
        for f in rest
        if getattr(old, f.name) != getattr(new, f.name)
    ]
    return tuple(lines)


def _keyed(what: str, old: dict[str, object], new: dict[str, object]) -> list[str]:
    gone = [f"{what} {name} removed" for name in old if name not in new]
    added = [f"{what} {name} added" for name in new if name not in old]
    changed = [f"{what} {n} changed" for n in new if n in old and old[n] != new[n]]
    return gone + added + changed


def line_writer(journal: Journal) -> Log:
    """The journal as the adapters know it."""

    def write(level: str, event: str, fields: dict[str, str | int]) -> None:
        journal.log(LEVELS[level], event, **fields)

    return write


def run(intent: NodeIntent, path: Path, journal: Journal, disabled_guards: frozenset[str]) -> None:
    """Run one PE until it is told to stop. Raises AlreadyRunningError, StoreError, OSError."""
    lock = take_lock(intent)
    try:
        asyncio.run(_run(intent, path.resolve(), journal, disabled_guards))
    finally:
        os.close(lock)


async def _run(
    intent: NodeIntent, path: Path, journal: Journal, disabled_guards: frozenset[str]
) -> None:
    inbox = EventQueue()
    store = open_store(Path(intent.state_dir))
    router = Router(store.load_labels())
    log = line_writer(journal)
    actor = DataplaneReconciler(
        emit=inbox.put,
        log=log,
        disabled_guards=disabled_guards,
        spare_ports=frozenset(intent.management_ports),
    )
    speakers = SpeakerPool(
        run_dir=Path(intent.run_dir),
        user=intent.speaker_user,
        router_id=intent.router_id,
        emit=inbox.put,
        log=log,
        restart_time=intent.restart_time,
        is_full=inbox.is_full,
    )
    segments = Segmentation(store, actor, intent, emit=inbox.put, log=log)
    node = Node(router, actor, speakers, store, inbox, log, segments)
    reloader = Reloader(path, intent, router, inbox, journal)
    tally = RpcMetrics()
    view = LiveView(node, actor, speakers, reloader, segments, tally, journal)
    await segments.start()
    selftest = Selftest(router, actor, reloader, inbox.put, log)
    pool = policy_pool(segments.conductor, node=intent.name, user=intent.speaker_user, log=log)
    pool.start()
    services = segment_services(segments.conductor, view, pool)
    api = await serve_api(
        view, intent, journal, config_folder=path.parent, tally=tally,
        more_services=both(services, selftest_service(selftest)),
    )  # fmt: skip
    metrics = Metrics(view, lambda text: journal.warning("metrics_failed", reason=text))
    await metrics.apply(intent.metrics_socket)
    reloader.attach(api, metrics)
    try:
        async with collector.freeze_heap():
            await run_until_signal(node, intent, reloader.on_signal)
    finally:
        await metrics.stop()
        await api.stop()
        await pool.stop()
        await segments.stop()
        store.close()
