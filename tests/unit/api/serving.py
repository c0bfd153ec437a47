"""A real gRPC server in a thread of its own, with a fake node behind it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from bulkhead.client import Node, connect

from controlplane.api.access.audit_chain import AUDIT_LOG
from controlplane.api.server import AddServices, ApiServer, serve_api
from controlplane.model.intent import NodeIntent
from tests.parts import LonePart
from tests.unit.api.fake_node import FakeNode

T = TypeVar("T")


@dataclass
class Notes:
    """A journal that keeps its lines."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))


def node_intent(folder: Path, **fields: Any) -> NodeIntent:
    given = {
        "name": "pe1",
        "router_id": IPv4Address("10.255.0.1"),
        "asn": 65000,
        "loopback": IPv4Address("10.255.0.1"),
        "run_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
    }
    return NodeIntent(**{**given, **fields})


@dataclass
class Serving:
    """A running API. ``call`` runs a coroutine on its loop."""

    node: FakeNode
    api: ApiServer
    loop: asyncio.AbstractEventLoop
    notes: Notes
    intent: NodeIntent

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(10)

    def client(self) -> Node:
        return connect(str(self.api.socket), timeout=10)

    @property
    def audit_lines(self) -> list[str]:
        path = Path(self.intent.state_dir) / AUDIT_LOG
        return path.read_text().splitlines() if path.exists() else []

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_lines]


@contextmanager
def serving(
    intent: NodeIntent,
    node: FakeNode | None = None,
    more: Callable[[FakeNode], Coroutine[Any, Any, AddServices]] | None = None,
) -> Iterator[Serving]:
    """Serve until the block ends; ``more`` makes further services, on the server's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    node, notes = node or FakeNode(), Notes()
    try:
        add = asyncio.run_coroutine_threadsafe(more(node), loop).result(10) if more else None
        serve = serve_api(node, intent, notes, part=LonePart(), more_services=add)
        start = asyncio.run_coroutine_threadsafe(serve, loop)
        running = Serving(node, start.result(10), loop, notes, intent)
        try:
            yield running
        finally:
            running.call(running.api.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
