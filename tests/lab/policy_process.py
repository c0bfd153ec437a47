"""An agent and a keeper of verdict tables in a process of their own, in a node's namespace.

As ``agent_process``, with methods of the keeper after ``segment.``; ``flows`` gives the records of
new flows since the last call, and how many were lost; ``flow_log`` the state of their reader.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from controlplane.model.events import Event
from controlplane.model.flow import FlowRecord
from pe.dataplane.reconciler import DataplaneReconciler
from pe.observe.flow_log import ROOM
from pe.policy.manager import PolicyMapManager
from tests.lab.agent_process import serve
from tests.parts import LonePart


class Served:
    def __init__(self, options: dict[str, Any]) -> None:
        room = options.pop("flow_room", ROOM)
        part = LonePart()
        self.agent = DataplaneReconciler(emit=self._ignore, log=self._log, part=part, **options)
        self.segment = PolicyMapManager(
            log=self._log,
            part=part,
            flows=part,
            require=self.agent.require_verdicts,
            flow_room=room,
            rulesets=self.agent.rulesets,
        )
        self.records: list[FlowRecord] = []
        self.lost = 0

    def _ignore(self, events: list[Event]) -> None:
        del events

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        words = " ".join(f"{key}={value}" for key, value in fields.items())
        sys.stderr.write(f"{level} {event} {words}\n")

    def _on_flows(self, records: Sequence[FlowRecord], lost: int) -> None:
        self.records += records
        self.lost += lost

    async def start(self) -> None:
        await self.segment.start()
        self.segment.watch(self._on_flows)
        await self.agent.start()

    def flows(self) -> tuple[list[FlowRecord], int]:
        taken = self.records, self.lost
        self.records, self.lost = [], 0
        return taken

    def flow_log(self) -> tuple[str, int, int]:
        log = self.segment.flow_log
        return log.problem, log.failures, log.foreign

    async def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method in ("start", "flows", "flow_log"):
            result = getattr(self, method)()
        else:
            owner: object = self.agent if hasattr(self.agent, method) else self.agent.state
            if method.startswith("segment."):
                owner = self.segment
            found = getattr(owner, method.removeprefix("segment."))
            result = found(*arguments) if callable(found) else found
        return await result if asyncio.iscoroutine(result) else result

    async def stop(self) -> None:
        await self.segment.stop()
        await self.agent.stop()


if __name__ == "__main__":
    asyncio.run(serve(Served))
