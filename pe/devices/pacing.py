"""Work in portions, so that the event loop runs in between."""

from __future__ import annotations

import asyncio

PORTION_SECONDS = 0.005
"""How long a piece of work may hold the loop before the next event is handled."""


class Pacer:
    """Measures the time since the loop last ran."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def pause(self) -> None:
        """Let the loop run, if the portion is used up."""
        if self._loop.time() - self._since >= PORTION_SECONDS:
            await asyncio.sleep(0)
            self._since = self._loop.time()
