"""A reload is refused whole, applied whole, or reported as incomplete."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.model.events import Event, IntentChanged
from controlplane.model.intent import NodeIntent
from controlplane.model.view import ReloadIncompleteError, ReloadRefusedError
from controlplane.vpn.plan import IntentRefusedError
from pe.config import load_config
from pe.config import reload as reloading
from pe.config.reload import Reloader
from pe.process import journal
from pe.process.service_manager import ServiceManager
from pe.supervisor import Supervisor
from tests.unit.config.text import GOOD

CHANGED = GOOD.replace("asn: 65001", "asn: 65002")


class Desk:
    """A node's reloads, with followers that a test gives."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "pe.yaml"
        self.file.write_text(GOOD)
        self.file.chmod(0o600)
        self.text = io.StringIO()
        self.journal = journal.start(stream=self.text)
        self.events: list[Event] = []
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        self.systemd.setblocking(False)
        self.manager = ServiceManager(str(folder / "notify"), lambda *_: None)
        self.objection: str | None = None
        self.sent: list[str] = []
        """What systemd got."""

    async def submit(self, request: Callable[[int], Event]) -> None:
        """The router: it takes the configuration, or objects to it."""
        if self.objection:
            raise IntentRefusedError(self.objection)
        self.events.append(request(1))

    def log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.journal.log(journal.LEVELS[level], event, **fields)

    def lines(self) -> str:
        self.journal.close()
        return self.text.getvalue()

    def notified(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.systemd.recv(4096).decode().partition("\n")[0])
            except BlockingIOError:
                return found


Story = Callable[[Desk, Reloader], Awaitable[None]]


def told(folder: Path, story: Story) -> Desk:
    desk = Desk(folder)

    async def whole() -> None:
        async with asyncio.timeout(10), Supervisor(desk.log) as supervisor:
            reloader = Reloader(
                desk.file, load_config(desk.file), desk.journal, supervisor.part("reload"),
                desk.manager, submit=desk.submit,
            )  # fmt: skip
            await story(desk, reloader)

    try:
        asyncio.run(whole())
        desk.sent = desk.notified()
    finally:
        desk.systemd.close()
    return desk


async def follow(_: NodeIntent) -> None:
    pass


async def broken(_: NodeIntent) -> None:
    raise OSError(98, "Address already in use")


def test_a_change_reaches_the_router_and_the_followers(tmp_path: Path) -> None:
    followed: list[NodeIntent] = []

    async def take(intent: NodeIntent) -> None:
        followed.append(intent)

    async def story(desk: Desk, reloader: Reloader) -> None:
        reloader.followers = {"API": take, "metrics": follow}
        desk.file.write_text(CHANGED)
        report = await reloader.reload()
        assert len(report.changes) == 1
        assert report.warnings == ()
        assert desk.events == [IntentChanged(reloader.intent, 1)]
        assert followed == [reloader.intent]

    assert told(tmp_path, story).sent == ["RELOADING=1", "READY=1"]


def test_a_follower_that_raises_is_reported_and_logged(tmp_path: Path) -> None:
    """Its exception once vanished with its task, and the reload said that all was well."""

    async def story(desk: Desk, reloader: Reloader) -> None:
        reloader.followers = {"API": broken, "metrics": follow}
        desk.file.write_text(CHANGED)
        with pytest.raises(ReloadIncompleteError) as error:
            await reloader.reload()
        assert error.value.errors == ("API: [Errno 98] Address already in use",)
        assert desk.events == [IntentChanged(reloader.intent, 1)], "the rest is in force"

    desk = told(tmp_path, story)
    lines = desk.lines()
    assert "event=part_failed part=reload" in lines
    assert "API does not follow the reload" in lines
    assert desk.sent == ["RELOADING=1", "READY=1"]


def test_after_a_signal_the_journal_says_it(tmp_path: Path) -> None:
    async def story(desk: Desk, reloader: Reloader) -> None:
        reloader.followers = {"API": broken}
        reloader.on_signal()
        await asyncio.wait([t for t in asyncio.all_tasks() if t.get_name() == "reload"])

    lines = told(tmp_path, story).lines()
    assert 'event=configuration_incomplete reason="API: [Errno 98]' in lines


@pytest.mark.parametrize("fault", ["file", "router"])
def test_a_refused_reload_changes_nothing(tmp_path: Path, fault: str) -> None:
    followed: list[NodeIntent] = []

    async def take(intent: NodeIntent) -> None:
        followed.append(intent)

    async def story(desk: Desk, reloader: Reloader) -> None:
        before = reloader.intent
        reloader.followers = {"API": take}
        desk.file.write_text("name: pe1\n" if fault == "file" else CHANGED)
        desk.objection = "no label is free"
        with pytest.raises(ReloadRefusedError):
            await reloader.reload()
        assert (desk.events, followed, reloader.intent) == ([], [], before)

    assert told(tmp_path, story).sent == ["RELOADING=1", "READY=1"]


def test_one_that_takes_long_is_named_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that closes waits for its calls, and this reload may be one of them."""
    monkeypatch.setattr(reloading, "APPLY_SECONDS", 0.01)
    release, finished = asyncio.Event(), asyncio.Event()

    async def slow(_: NodeIntent) -> None:
        await release.wait()
        finished.set()

    async def story(desk: Desk, reloader: Reloader) -> None:
        reloader.followers = {"API": slow}
        report = await reloader.reload()
        assert report.warnings == ("API is still changing; the journal says if it fails",)
        release.set()
        await finished.wait()

    told(tmp_path, story)


def test_a_caller_that_goes_away_ends_nothing(tmp_path: Path) -> None:
    release, finished = asyncio.Event(), asyncio.Event()

    async def slow(_: NodeIntent) -> None:
        await release.wait()
        finished.set()

    async def story(desk: Desk, reloader: Reloader) -> None:
        reloader.followers = {"API": slow}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reloader.reload()
        release.set()
        await finished.wait()

    told(tmp_path, story)
