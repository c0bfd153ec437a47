"""Serve HTTP on a Unix socket, as much of it as a scrape needs: ``GET /metrics``.

``curl --unix-socket PATH http://localhost/metrics`` prints what Prometheus scrapes. Prometheus
cannot scrape a Unix socket itself: it needs a proxy from a TCP port.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from controlplane.api.access.listener import unix_listener
from controlplane.model.supervision import Part, Task

PATH = b"/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MODE = 0o660
SECONDS = 10.0
"""Time limit of a request with its answer."""
LARGEST_REQUEST = 8 << 10
AT_ONCE = 4

Scrape = Callable[[], Awaitable[bytes]]


class MetricsListener:
    """Serve one socket; ``scrape`` makes the text. Call ``report`` if a scrape fails."""

    def __init__(self, scrape: Scrape, report: Callable[[str], None], part: Part) -> None:
        self._scrape, self._report, self._part = scrape, report, part
        self._server: asyncio.Server | None = None
        self._tasks: set[Task] = set()
        self.path: Path | None = None

    async def listen(self, path: Path) -> None:
        """Serve at ``path``; a socket that a former run left is replaced. Raises OSError."""
        listener = await asyncio.to_thread(unix_listener, path, MODE)
        listener.setblocking(False)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=LARGEST_REQUEST
        )
        self.path = path

    async def close(self) -> None:
        """Stop serving and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.path:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks = {task for task in self._tasks if not task.done()}
        if len(self._tasks) >= AT_ONCE:
            writer.transport.abort()
            return
        self._tasks.add(self._part.spawn(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(SECONDS):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return b""
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        method, target = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, allow=True)
        if target != PATH:
            return _response(HTTPStatus.NOT_FOUND)
        try:
            body = await self._scrape()
        except Exception as error:  # the next scrape may fare better; the node goes on
            self._report(repr(error))
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(HTTPStatus.OK, body, kind=CONTENT_TYPE, with_body=method == b"GET")


def _response(
    status: HTTPStatus, body: bytes = b"", *, kind: str = "text/plain; charset=utf-8",
    with_body: bool = True, allow: bool = False,
) -> bytes:  # fmt: skip
    body = body or f"{status.phrase}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(["Allow: GET, HEAD"] if allow else []),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body if with_body else head
