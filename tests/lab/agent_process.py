"""An agent in a process of its own, to be run inside a node's namespace and killed at will.

Reads pickled (method, arguments) from its standard input, each with its length before it, and
answers with pickled results in the same way. ``tests/lab/agents.py`` is the other end.
"""

import asyncio
import pickle
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from controlplane.model.events import Event
from pe.dataplane.reconciler import DataplaneReconciler
from tests.parts import LonePart

LENGTH = struct.Struct(">I")


class Served:
    """The calls that a test may make."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.longest_leap = 0
        self.events: list[tuple[float, Event]] = []
        self.agent = DataplaneReconciler(emit=self._emit, log=self._log, part=LonePart(), **options)

    def _emit(self, events: list[Event]) -> None:
        self.events += [(time.monotonic(), event) for event in events]

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        words = " ".join(f"{key}={value}" for key, value in fields.items())
        sys.stderr.write(f"{level} {event} {words}\n")

    async def _watch_loop(self) -> None:
        """What a keepalive has to wait for at worst: the routes written between two turns."""
        before = self._written()
        while True:
            await asyncio.sleep(0)
            now = self._written()
            self.longest_leap, before = max(self.longest_leap, now - before), now

    def _written(self) -> int:
        names = {counter.name: counter.value for counter in self.agent.state.counters()}
        return names["kernel_routes_written"]

    async def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "events":
            taken, self.events = self.events, []
            return taken
        if method == "written":
            return self._written()
        if method == "watch_loop":
            self.longest_leap = 0
            self.watching = asyncio.create_task(self._watch_loop())
            return None
        if method == "longest_leap":
            self.watching.cancel()
            return self.longest_leap
        if method == "foreign_rules":
            return list(self.agent.foreign.rules)
        if method == "foreign_routes":
            return list(self.agent.state.foreign_routes(*arguments))
        if method == "foreign_chains":
            return list(self.agent.foreign.chains)
        if method == "foreign_is_read":  # where there are some
            return self.agent.foreign.due is not None
        if method == "read_foreign_anew":
            return self.agent.foreign.read_anew()
        if method == "timed":  # submit and settle, in one go: seconds
            before = time.monotonic()
            self.agent.submit(arguments[0])
            await self.agent.settled()
            return time.monotonic() - before
        owner = self.agent if hasattr(self.agent, method) else self.agent.state
        found = getattr(owner, method)
        result = found(*arguments) if callable(found) else found
        return await result if asyncio.iscoroutine(result) else result

    async def stop(self) -> None:
        await self.agent.stop()


class Server(Protocol):
    """Answers the calls of a test; ``serve`` makes one of the options."""

    async def call(self, method: str, arguments: tuple[Any, ...]) -> Any: ...

    async def stop(self) -> None: ...


async def serve(make: Callable[[dict[str, Any]], Server]) -> None:
    """Answer calls until the other end closes; the first one, ``create``, has the options."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    served: Server | None = None
    while True:
        try:
            size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
        except asyncio.IncompleteReadError:
            break
        method, arguments = pickle.loads(await reader.readexactly(size))  # noqa: S301 - of our own test
        answer: Any = None
        try:
            if method == "create":
                served = make(arguments[0])
            else:
                assert served
                answer = await served.call(method, arguments)
        except Exception as error:
            answer = error
        data = pickle.dumps(answer)
        sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
        sys.stdout.buffer.flush()
    if served:
        await served.stop()


if __name__ == "__main__":
    asyncio.run(serve(Served))
