"""All workers of the node: what the rest of the node sees of BGP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from controlplane.model.effects import (
    Announce,
    Effect,
    RequestRefresh,
    ResetSession,
    SendEndOfRib,
    Withdraw,
)
from controlplane.model.events import Event
from controlplane.model.intent import PeerIntent
from controlplane.model.log import Log
from controlplane.model.supervision import Part, Task
from controlplane.speaker.process import SpeakerProcess, SpeakerSettings
from controlplane.speaker.session import SessionSnapshot

BGP_PORT = 179
QUEUE_LIMIT = 2_000_000


class SpeakerPool:
    """BGP sessions, kept in one worker process per VRF and one for the core.

    Runs in the node's asyncio loop and never blocks it. ``emit`` is given events in their order;
    ``log`` a level, an event name in snake_case, and fields without secrets.

    ``uid_of`` gives the user id for a VRF's worker, 0 for ``user``'s own.
    ``device_of`` gives the VRF device for a VRF's name (None: sessions are bound to no device at
    all). ``clock`` counts seconds. ``queue_limit`` bounds the routes that wait for one worker;
    ``is_full`` says of a VRF that so many of its events wait that its worker is not read from.
    """

    def __init__(
        self,
        *,
        run_dir: Path,
        user: str,
        router_id: IPv4Address,
        emit: Callable[[list[Event]], None],
        log: Log,
        part: Part,
        uid_of: Callable[[str], int] = lambda vrf: 0,  # noqa: ARG005
        device_of: Callable[[str], str] | None = lambda vrf: vrf,
        listen_port: int = BGP_PORT,
        clock: Callable[[], float] = time.monotonic,
        queue_limit: int = QUEUE_LIMIT,
        is_full: Callable[[str], bool] = lambda vrf: False,  # noqa: ARG005
    ) -> None:
        self._around = SpeakerSettings(
            run_dir=run_dir,
            user=user,
            uid_of=uid_of,
            router_id=router_id,
            emit=emit,
            log=log,
            part=part,
            clock=clock,
            listen_port=listen_port,
            queue_limit=queue_limit,
            device_of=device_of or (lambda vrf: ""),  # noqa: ARG005
            is_full=is_full,
        )
        self._processes: dict[str, SpeakerProcess] = {}
        self._part, self._stopping = part, set[Task]()

    def configure(self, peers: Mapping[str, tuple[PeerIntent, ...]], restart_time: int) -> None:
        """Have exactly these sessions in these VRFs. Those that do not change stay up.

        One that is missing is ended with Cease 6/3, and reported as SessionDown at once.
        ``restart_time`` (seconds) is offered for graceful restart, 0 for none.
        """
        for vrf in [vrf for vrf, wanted in peers.items() if not wanted and vrf in self._processes]:
            self._retire(vrf)
        for vrf, wanted in peers.items():
            if wanted and vrf not in self._processes:
                self._processes[vrf] = SpeakerProcess(vrf, self._around)
            if wanted:
                self._processes[vrf].configure(wanted, restart_time)

    def perform(self, actions: Iterable[Effect]) -> None:
        """Queue what concerns BGP sessions, in its order; skip the rest.

        Nothing is kept for a session that is not up: it gets its routes when it is.
        """
        for action in actions:
            if isinstance(
                action, Announce | Withdraw | SendEndOfRib | RequestRefresh | ResetSession
            ):
                process = self._processes.get(action.peer.vrf)
                if process is not None:
                    process.perform(action)

    def snapshot(self) -> tuple[SessionSnapshot, ...]:
        """Return every configured session, the core's first."""
        return tuple(
            session.snapshot()
            for vrf in sorted(self._processes)
            for session in self._processes[vrf].sessions.values()
        )

    def restarts(self) -> dict[str, int]:
        """Return how often the worker of each VRF ("" is the core) was lost."""
        return {vrf: process.restarts for vrf, process in self._processes.items()}

    def lost(self) -> frozenset[str]:
        """Return VRFs ("" is the core) with sessions, but no running BGP process at present."""
        return frozenset(vrf for vrf, process in self._processes.items() if process.is_lost)

    async def stop(self) -> None:
        """End all workers, without NOTIFICATION: peers with graceful restart keep our routes."""
        processes, self._processes = list(self._processes.values()), {}
        await asyncio.gather(*(process.stop() for process in processes), *self._stopping)

    def _retire(self, vrf: str) -> None:
        process = self._processes.pop(vrf)
        process.configure(())
        task = self._part.spawn(_wind_down(process))
        self._stopping = {each for each in self._stopping if not each.done()} | {task}


async def _wind_down(process: SpeakerProcess) -> None:
    await process.flushed()
    await process.stop()
