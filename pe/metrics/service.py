"""Gather the metrics of the running node at each scrape, and follow reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from controlplane.model.supervision import Part
from pe.metrics.figures import Figures, families
from pe.metrics.listener import MetricsListener


class Source(Protocol):
    """Supply the figures (``pe.view.node_view.LiveView``). Called on the node's loop."""

    async def figures(self) -> Figures:
        """Return the current figures. Raises OSError."""
        ...


class _Gathered(Collector):
    """Adapt families that were gathered before to a registry, which calls collectors."""

    def __init__(self, gathered: Iterable[Metric]) -> None:
        self._gathered = tuple(gathered)

    def collect(self) -> Iterator[Metric]:
        yield from self._gathered


def exposition(figures: Figures) -> bytes:
    """Render text format 0.0.4, with the process's own CPU time, memory and descriptors."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(families(figures)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class Metrics:
    """Serve metrics while a socket is configured; call ``report`` if a scrape fails."""

    def __init__(self, source: Source, report: Callable[[str], None], part: Part) -> None:
        self._source = source
        self._listener = MetricsListener(self._scrape, report, part)
        self._changing = asyncio.Lock()

    async def apply(self, path: str) -> None:
        """Serve at this path, or stop if it is "". Raises OSError if it cannot be opened."""
        async with self._changing:
            wanted = Path(path) if path else None
            if wanted == self._listener.path:
                return
            await self._listener.close()
            if wanted is not None:
                try:
                    await self._listener.listen(wanted)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, path) from None

    async def stop(self) -> None:
        """Stop serving."""
        await self.apply("")

    async def _scrape(self) -> bytes:
        figures = await self._source.figures()
        return await asyncio.to_thread(exposition, figures)
