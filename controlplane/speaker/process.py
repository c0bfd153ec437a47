"""One ExaBGP worker in the node's loop: started, read, written to, and started again if it dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from controlplane.model.events import Event, SessionDown, SpeakerLost
from controlplane.model.intent import PeerIntent
from controlplane.model.log import Log
from controlplane.model.supervision import Part
from controlplane.speaker import wire
from controlplane.speaker.command_pipe import CommandPipe
from controlplane.speaker.commands import Action
from controlplane.speaker.configuration import render
from controlplane.speaker.launch import Launched, launch
from controlplane.speaker.lines import LineSplitter
from controlplane.speaker.liveness import LOOK_SECONDS, Liveness
from controlplane.speaker.reports import ReportReader
from controlplane.speaker.room import room_for
from controlplane.speaker.session import WorkerSession

READ_SIZE = 1 << 15
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
STABLE_AFTER = 60.0
KILL_AFTER = 2.0
REAP_SECONDS = 0.01
LAST_WORDS = 2000
FLUSH_TURNS, FLUSH_SECONDS = 10, 0.2
CEASE_OUT_OF_RESOURCES = 8
PAUSE_SECONDS = 0.02
CURE = "install the ExaBGP release that this version of Bulkhead is made for, then pe reload"


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """What all workers share. ``device_of`` gives the VRF device of a VRF's name."""

    run_dir: Path
    user: str
    uid_of: Callable[[str], int]
    router_id: IPv4Address
    emit: Callable[[list[Event]], None]
    log: Log
    part: Part
    clock: Callable[[], float]
    listen_port: int
    queue_limit: int
    device_of: Callable[[str], str]
    is_full: Callable[[str], bool]
    logged_once: set[str] = field(default_factory=set)
    """What of all workers together has one line in the log."""


class SpeakerProcess:
    """The worker of one VRF, or of the core (``vrf`` empty)."""

    def __init__(self, vrf: str, around: SpeakerSettings) -> None:
        self.vrf = vrf
        self.sessions: dict[str, WorkerSession] = {}
        self._around = around
        self._commands = CommandPipe(
            around.queue_limit, self._guard, self._log,
            acted=self._acted, broken=self._kill,
        )  # fmt: skip
        self._restart_time = 0
        self._applied: wire.Configure | None = None
        self._worker: Launched | None = None
        self._splitter = LineSplitter()
        self._reader = ReportReader(self.sessions, self._log, around.clock, around.logged_once)
        self._delay = FIRST_DELAY
        self._started = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._liveness = Liveness()
        self._room = 0
        self._killed: subprocess.Popen[bytes] | None = None  # and its exit status not collected
        self._last_words = ""
        self.restarts = 0

    # What the pool asks

    def configure(self, peers: tuple[PeerIntent, ...], restart_time: int = 0) -> None:
        """Have exactly these sessions; those that stay as they are do not notice.

        Another ``restart_time`` is in every OPEN: it opens all of them anew.
        """
        wanted = {str(peer.peer.address): peer for peer in peers}
        changed = {a: p for a, p in wanted.items() if self._intent(a) != p}
        gone = [address for address in self.sessions if address not in wanted]
        if not changed and not gone and restart_time == self._restart_time:
            return
        self._restart_time = restart_time
        self._remove(gone)
        now = self._around.clock()
        for address, intent in changed.items():
            session = self.sessions.get(address)
            if session is None:
                session = self.sessions[address] = WorkerSession(intent, now)
            session.intent, session.running = intent, self._worker is not None
        self._apply()

    def perform(self, action: Action) -> None:
        """Queue an action; what is meant for a session that is not up is dropped."""
        address = str(action.peer.address)
        session = self.sessions.get(address)
        if session is None or not session.listens:
            return
        if self._commands.put(session.number, action):
            session.queued(action)
        else:
            self._overflow(address, session)

    def _overflow(self, address: str, session: WorkerSession) -> None:
        """Start a session over, of which more waits than the queue takes: no piece may be lost."""
        dropped = self._commands.drop(address)
        self._log("error", "speaker_queue_full", {"peer": address, "routes": dropped})
        self._commands.put_line(wire.Teardown(address, session.number, CEASE_OUT_OF_RESOURCES))
        session.listens = False

    async def stop(self) -> None:
        """End the worker: no NOTIFICATION is sent, so peers that can will keep our routes."""
        if self._timer is not None:
            self._timer.cancel()
        worker, self._worker = self._worker, None
        killed, self._killed = self._killed, None
        loop = asyncio.get_running_loop()
        if killed is not None:
            await loop.run_in_executor(None, killed.wait)
        if worker is None:
            return
        self._leave_loop(worker)
        worker.process.terminate()
        try:
            await loop.run_in_executor(None, worker.process.wait, KILL_AFTER)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            await loop.run_in_executor(None, worker.process.wait)
        worker.close()

    async def flushed(self) -> None:
        """Wait, for a moment at most, until the worker has had time to act on its commands."""
        for _ in range(FLUSH_TURNS):
            if self._worker is None or not self._commands:
                break
            await asyncio.sleep(FLUSH_SECONDS)
        await asyncio.sleep(FLUSH_SECONDS)

    # Configuration

    def _intent(self, address: str) -> PeerIntent | None:
        session = self.sessions.get(address)
        return session.intent if session else None

    def _remove(self, addresses: list[str]) -> None:
        events: list[Event] = []
        for address in addresses:
            session = self.sessions.pop(address)
            self._commands.drop(address)
            if session.established:
                events.append(SessionDown(peer=session.peer, reason="no longer configured"))
        if events:
            self._around.emit(events)

    def _apply(self) -> None:
        if self._worker is None:
            if self._timer is None:
                self._start()
            return
        if len(self.sessions) > self._room:  # its limits are for no more
            self._died(f"another one is started: it may have no more than {self._room} sessions")
            return
        rendered = self._rendered()
        if rendered == self._applied:
            return
        self._applied = rendered
        self._commands.put_line(rendered)

    def _rendered(self) -> wire.Configure:
        around = self._around
        return render(
            [session.intent for session in self.sessions.values()],
            router_id=around.router_id,
            restart_time=self._restart_time,
            device=around.device_of(self.vrf),
            listen_port=around.listen_port,
        )

    # Start and end of the worker

    def _start(self) -> None:
        self._timer = None
        around = self._around
        try:
            device = around.device_of(self.vrf)
            worker = launch(
                user=around.user, uid=around.uid_of(self.vrf), device=device,
                run_dir=around.run_dir,
            )  # fmt: skip
        except (OSError, KeyError) as error:
            self._log("error", "speaker_start_failed", {"reason": str(error)})
            self._start_later()
            return
        self._worker, self._started = worker, around.clock()
        self._splitter, self._last_words = LineSplitter(), ""
        self._liveness, self._room = Liveness(), room_for(len(self.sessions))
        for session in self.sessions.values():
            session.running = True
        self._applied = self._rendered()
        self._commands.open(worker.commands)
        self._commands.put_line(self._applied)
        self._commands.put_line(wire.Ask())
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.reports, self._guard(self._readable))
        loop.add_reader(worker.errors, self._guard(self._complained))
        self._log("info", "speaker_started", {"pid": worker.process.pid})

    def _look(self) -> None:
        """Give a worker up that is stopped or answers no more: its peers end its sessions, and the
        node would keep their routes for ever."""
        self._looking = None
        if self._worker is None:
            return
        found = self._liveness.look(self._worker.process.pid)
        if found.stopped:
            self._log("error", "speaker_stopped", {"reason": found.reason})
        if found.reason:
            self._died(found.reason)
            return
        if found.ask:
            self._commands.put_line(wire.Ask())
        self._look_later()

    def _look_later(self) -> None:
        looking = self._guard(self._look)
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, looking)

    def _start_later(self) -> None:
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY)
        self._timer = asyncio.get_running_loop().call_later(delay, self._guard(self._start))

    def _guard(self, callback: Callable[[], None]) -> Callable[..., None]:
        return self._around.part.guard(callback, self._begin_anew, f"vrf {self.vrf!r}")

    def _begin_anew(self) -> None:
        """Start another worker: what this one reported and was not read in full is lost."""
        if self._worker is not None:
            self._died("a callback failed")
        elif self._timer is None or self._timer.when() <= asyncio.get_running_loop().time():
            self._start_later()

    @property
    def is_lost(self) -> bool:
        """True while there are sessions and no worker that holds them."""
        return bool(self.sessions) and self._worker is None

    def _died(self, reason: str = "") -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._leave_loop(worker)
        self._read_errors(worker.errors)
        worker.process.kill()
        worker.close()
        self.restarts += 1
        last = self._last_words.strip().rpartition("\n")[2][:200]
        reason = self._reader.unusable or reason or last or "the process ended"
        now = self._around.clock()
        for address, session in self.sessions.items():
            session.go_down(wire.Down(address, "ended", text=f"speaker lost: {reason}"), now)
            session.running = False
        if now - self._started >= STABLE_AFTER:
            self._delay = FIRST_DELAY
        self._reap(worker.process, reason)
        self._around.emit([SpeakerLost(self.vrf, reason)])

    def _reap(self, process: subprocess.Popen[bytes], reason: str) -> None:
        """Collect the exit status without waiting for it, then start again.

        A worker that does not fit its ExaBGP would not fit it the next time: it is started again
        with the next configuration only.
        """
        status = process.poll()
        self._killed = process if status is None else None
        if status is None:
            loop = asyncio.get_running_loop()
            reap = self._guard(partial(self._reap, process, reason))
            self._timer = loop.call_later(REAP_SECONDS, reap)
            return
        self._timer = None
        self._log("error", "speaker_exited", {"reason": reason, "status": status})
        if self._reader.unusable:
            self._reader.unusable = ""
            self._log("error", "speaker_unusable", {"reason": reason, "cure": CURE})
        elif self.sessions:
            self._start_later()

    def _acted(self) -> None:
        self._liveness.acted()

    def _kill(self) -> None:
        if self._worker is not None:
            self._worker.process.kill()

    def _leave_loop(self, worker: Launched) -> None:
        loop = asyncio.get_running_loop()
        for timer in (self._pause, self._looking):
            if timer is not None:
                timer.cancel()
        self._pause = self._looking = None
        loop.remove_reader(worker.reports)
        loop.remove_reader(worker.errors)
        self._commands.close()

    # Reading

    def _readable(self) -> None:
        if self._worker is None:
            return
        self._liveness.acted()
        if self._around.is_full(self.vrf):
            # The worker has to wait with its reports, and through TCP its peers do.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._worker.reports)
            self._pause = loop.call_later(PAUSE_SECONDS, self._guard(self._read_again))
            return
        try:
            data = os.read(self._worker.reports, READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._died()
            return
        if self._looking is None:
            # From its first word on: a thousand workers start at once.
            self._look_later()
        events = self._reader.read(self._splitter.feed(data))
        if events:
            self._around.emit(events)

    def _read_again(self) -> None:
        self._pause = None
        if self._worker is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._worker.reports, self._guard(self._readable))

    def _complained(self) -> None:
        """Read not ExaBGP's log, which comes as reports, but what Python says when it crashes."""
        if self._worker is not None and not self._read_errors(self._worker.errors):
            asyncio.get_running_loop().remove_reader(self._worker.errors)

    def _read_errors(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, READ_SIZE)
        except OSError:
            return True
        self._last_words = (self._last_words + data.decode(errors="replace"))[-LAST_WORDS:]
        return bool(data)

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self._around.log(level, event, {"vrf": self.vrf, **fields})
