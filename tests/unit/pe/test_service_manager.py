"""What systemd reads from its socket, and from whose turns the watchdog is fed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pe.process.service_manager import ServiceManager, from_environment

Line = tuple[str, str, dict[str, str | int]]
WATCHDOG = 8.0


class Systemd:
    """A real datagram socket, as systemd opens one for a service."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def read(self) -> list[str]:
        """Return all datagrams so far; a send over a Unix socket is there when it returns."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    path = str(tmp_path / "notify") if request.param == "path" else f"@bulkhead-{os.getpid()}"
    made = Systemd(path)
    yield made
    made.close()


class Desk:
    def __init__(self, address: str, watchdog: float = WATCHDOG) -> None:
        self.now, self.lines = 100.0, list[Line]()
        self.manager = ServiceManager(address, self._log, watchdog=watchdog, clock=lambda: self.now)

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.lines.append((level, event, fields))

    def turns(self, seconds: float, *parts: str) -> None:
        """Let time pass, then complete a turn of each part."""
        self.now += seconds
        for part in parts:
            self.manager.turn_completed(part)


def test_a_service_from_start_to_stop(systemd: Systemd) -> None:
    manager = Desk(systemd.address).manager
    manager.status("Initial sync")
    manager.status("Initial sync")
    assert not manager.is_ready
    manager.ready()
    assert manager.is_ready
    manager.stopping()
    assert systemd.read() == ["STATUS=Initial sync", "READY=1", "STOPPING=1"]


def test_a_reload_says_when_it_began(systemd: Systemd) -> None:
    before = time.monotonic_ns() // 1000
    Desk(systemd.address).manager.reloading()
    (text,) = systemd.read()
    first, _, since = text.partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(since) <= time.monotonic_ns() // 1000


def test_turns_of_both_feed_the_watchdog(systemd: Systemd) -> None:
    desk = Desk(systemd.address)
    desk.manager.ready()
    systemd.read()
    desk.turns(WATCHDOG, "router", "dataplane")
    assert systemd.read() == ["WATCHDOG=1"]
    desk.turns(WATCHDOG, "dataplane", "router")
    assert systemd.read() == ["WATCHDOG=1"]


@pytest.mark.parametrize("alive", ["router", "dataplane"])
def test_a_part_that_hangs_starves_the_watchdog(systemd: Systemd, alive: str) -> None:
    desk = Desk(systemd.address)
    desk.turns(WATCHDOG, "router", "dataplane")  # the control: these feed it
    assert len(systemd.read()) == 1
    for _ in range(20):
        desk.turns(WATCHDOG, alive, "policy", "speaker")
    assert systemd.read() == []


def test_one_turn_is_no_proof_twice(systemd: Systemd) -> None:
    desk = Desk(systemd.address)
    desk.turns(WATCHDOG, "router", "dataplane")
    desk.turns(WATCHDOG, "router")
    assert len(systemd.read()) == 1


def test_feeds_are_few_and_in_time(systemd: Systemd) -> None:
    desk = Desk(systemd.address)
    for _ in range(80):
        desk.turns(WATCHDOG / 40, "router", "dataplane")
    assert 7 <= len(systemd.read()) <= 8, "two periods, four feeds each"


def test_before_ready_turns_extend_the_start(systemd: Systemd) -> None:
    desk = Desk(systemd.address)
    desk.turns(WATCHDOG, "router", "dataplane")
    assert systemd.read() == [f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={int(WATCHDOG * 1e6)}"]


def test_without_a_watchdog_none_is_fed(systemd: Systemd) -> None:
    desk = Desk(systemd.address, watchdog=0.0)
    desk.turns(WATCHDOG, "router", "dataplane")
    assert systemd.read() == []


def test_a_socket_that_is_gone_is_logged_once_and_harms_nothing(tmp_path: Path) -> None:
    desk = Desk(str(tmp_path / "gone"))
    desk.manager.ready()
    desk.manager.stopping()
    assert [event for _, event, _ in desk.lines] == ["service_manager_unreachable"]


def test_the_environment_is_taken_over_and_not_passed_on(systemd: Systemd) -> None:
    environment = {
        "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2000000",
        "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin",
    }  # fmt: skip
    manager = from_environment(lambda *_: None, environment)
    assert environment == {"PATH": "/bin"}
    assert manager.is_there
    manager.ready()
    assert systemd.read() == ["READY=1"]


def test_the_watchdog_of_another_process_is_not_fed(systemd: Systemd) -> None:
    environment = {
        "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1",
    }  # fmt: skip
    manager = from_environment(lambda *_: None, environment)
    manager.turn_completed("router")
    manager.turn_completed("dataplane")
    assert systemd.read() == []


def test_without_systemd_nothing_is_sent() -> None:
    lines: list[Line] = []
    manager = from_environment(lambda *line: lines.append(line), {})
    assert not manager.is_there
    manager.ready()
    manager.turn_completed("router")
    assert lines == []
