"""Metrics of the running node: gathers the figures at each scrape, and follows reloads."""

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
    """Who knows the figures (``pe.view.node_view.LiveView``). Called on the node's loop."""

    async def figures(self) -> Figures:
        """As they are now. Raises OSError."""
        ...


class _Gathered(Collector):
    """Families that are there already: a registry wants to collect them itself."""

    def __init__(self, gathered: Iterable[Metric]) -> None:
        self._gathered = tuple(gathered)

    def collect(self) -> Iterator[Metric]:
        yield from self._gathered


def exposition(figures: Figures) -> bytes:
    """The text format 0.0.4, with the process's own CPU time, memory and descriptors."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(families(figures)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class Metrics:
    """Off as long as no socket is configured. ``report`` is told of scrapes that fail."""

    def __init__(self, source: Source, report: Callable[[str], None], part: Part) -> None:
        self._source = source
        self._listener = MetricsListener(self._scrape, report, part)
        self._changing = asyncio.Lock()

    async def apply(self, path: str) -> None:
        """Serve at this path, or at none. Raises OSError if the socket cannot be had."""
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
        """Serve no more."""
        await self.apply("")

    async def _scrape(self) -> bytes:
        figures = await self._source.figures()
        return await asyncio.to_thread(exposition, figures)
