"""HTTP on the metrics' socket, and that there is none unless it is asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pe.metrics.figures import Figures
from pe.metrics.listener import AT_ONCE, LARGEST_REQUEST, MetricsListener
from pe.metrics.service import Metrics
from tests.parts import LonePart
from tests.unit.metrics.test_figures import figures

BODY = b"# HELP x y\n"


async def good() -> bytes:
    return BODY


async def ask(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def talk(
    path: Path, *requests: bytes, scrape: Callable[[], Awaitable[bytes]] = good
) -> list[bytes]:
    """The answers to these, each on a connection of its own."""

    async def run() -> list[bytes]:
        listener = MetricsListener(scrape, lambda _: None, LonePart())
        await listener.listen(path)
        try:
            return [await ask(path, request) for request in requests]
        finally:
            await listener.close()

    answers = asyncio.run(run())
    assert not path.exists()
    return answers


def get(target: str = "/metrics", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_a_scrape(tmp_path: Path) -> None:
    whole, bare = talk(tmp_path / "m", get(), get(method="HEAD"))
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
    assert f"Content-Length: {len(BODY)}".encode() in head
    assert body == BODY
    assert bare == head + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), b"404"),
        (get("/metrics?x=1"), b"200"),
        (get(method="POST"), b"405"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * LARGEST_REQUEST + b"\r\n", b"431"),
    ],
)
def test_what_is_no_scrape(tmp_path: Path, request_: bytes, status: bytes) -> None:
    (answer,) = talk(tmp_path / "m", request_)
    assert answer.split(b" ")[1] == status


def test_a_scrape_that_fails_says_nothing_of_why(tmp_path: Path) -> None:
    async def broken() -> bytes:
        raise OSError(5, "the key is 42")

    (answer,) = talk(tmp_path / "m", get(), scrape=broken)
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"42" not in answer


def test_silent_clients_are_bounded_and_do_not_stop_the_end(tmp_path: Path) -> None:
    async def run() -> int:
        listener = MetricsListener(good, lambda _: None, LonePart())
        await listener.listen(tmp_path / "m")
        silent = [await asyncio.open_unix_connection(str(tmp_path / "m")) for _ in range(AT_ONCE)]
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "m"))
        refused = await reader.read()
        await listener.close()
        for _, each in (*silent, (reader, writer)):
            each.close()
        return len(refused)

    assert asyncio.run(run()) == 0


class Source:
    async def figures(self) -> Figures:
        return figures()


def test_the_socket_comes_and_goes_with_the_configuration(tmp_path: Path) -> None:
    first, second, told = tmp_path / "1", tmp_path / "2", list[str]()

    def present() -> list[Path]:
        return [*tmp_path.iterdir()]

    async def run() -> bytes:
        metrics = Metrics(Source(), told.append, LonePart())
        await metrics.apply("")
        assert present() == []
        await metrics.apply(str(first))
        assert first.stat().st_mode & 0o777 == 0o660
        await metrics.apply(str(second))
        assert present() == [second]
        answer = await ask(second, get())
        with pytest.raises(OSError, match="no/such"):
            await metrics.apply(str(tmp_path / "no" / "such"))
        assert present() == []
        await metrics.stop()
        return answer

    assert b"bulkhead_bgp_session_up{" in asyncio.run(run())
    assert told == []


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "m"))
    left.close()
    (answer,) = talk(tmp_path / "m", get())
    assert answer.startswith(b"HTTP/1.1 200")
