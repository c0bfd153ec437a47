"""The policy map manager looks for drift and new ports, however often the maps change."""

from __future__ import annotations

import asyncio

from pe.policy.manager import PolicyMapManager
from tests.parts import LonePart

CHECK_SECONDS = 0.05


class Maps(PolicyMapManager):
    checks: int = 0

    async def _turn(self, *, checking: bool) -> None:
        self.checks += checking


def test_changes_that_never_end_put_off_no_check() -> None:
    """Each change began the wait anew: ports that came were not bound, and drift stayed."""

    async def story() -> None:
        part, loop = LonePart(), asyncio.get_running_loop()
        maps = Maps(log=lambda *_: None, part=part, flows=part, check_seconds=CHECK_SECONDS)
        task = loop.create_task(maps._run())
        async with asyncio.timeout(10):
            while maps.checks < 3:
                maps.mark(1)
                await asyncio.sleep(CHECK_SECONDS / 5)
        task.cancel()

    asyncio.run(story())
