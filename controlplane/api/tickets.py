"""Tickets: callers wait for answers to requests; a cancelled caller ends only its waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from controlplane.model.effects import Answer
from controlplane.model.events import Event


class Tickets:
    """``emit`` puts an event into the queue of the node."""

    def __init__(self, emit: Callable[[list[Event]], None]) -> None:
        self._emit = emit
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count(1)

    async def submit(self, request: Callable[[int], Event]) -> Any:
        """Make the request's event with a ticket, and return its answer or raise its error.

        A cancelled caller no longer waits; its request is carried out or refused all the same.
        """
        ticket = next(self._numbers)
        future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._emit([request(ticket)])
        return await future

    def resolve(self, answer: Answer) -> None:
        """Give the answer to the caller, if it still waits."""
        future = self._waiting.pop(answer.ticket, None)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.result)
