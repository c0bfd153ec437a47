"""grpc.health.v1: the node and its parts, as they are when asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from controlplane.api.access.status import not_found

LOOK_SECONDS = 0.2
"""Between two looks of a watch."""

Context = grpc.aio.ServicerContext[Any, Any]
_Status = pb.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # no stubs
    """``serving`` gives each part's health by its name, "" for the whole node.

    ``services`` are the full names of the other services here: they are as well as the node is.
    Nothing is kept between two calls, so no answer can be out of date.
    """

    def __init__(self, serving: Callable[[], Mapping[str, bool]], services: Iterable[str]) -> None:
        self._serving, self._services = serving, tuple(services)

    def _all(self) -> dict[str, int]:
        parts = dict(self._serving())
        found = {**dict.fromkeys(self._services, parts[""]), **parts}
        return {
            name: _Status.SERVING if well else _Status.NOT_SERVING for name, well in found.items()
        }

    async def Check(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> pb.HealthCheckResponse:
        """Return the status of one service now."""
        found = self._all()
        if request.service not in found:
            raise not_found(f"there is no service {request.service!r}; ask for one of {[*found]}")
        return _Status(status=found[request.service])

    async def List(self, request: pb.HealthListRequest, context: Context) -> pb.HealthListResponse:
        """Return the status of every service now."""
        return pb.HealthListResponse(
            statuses={name: _Status(status=status) for name, status in self._all().items()}
        )

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """Yield the status of one service now, and each change of it."""
        sent = None
        while True:
            status = self._all().get(request.service, _Status.SERVICE_UNKNOWN)
            if status != sent:
                sent = status
                yield _Status(status=status)
            await asyncio.sleep(LOOK_SECONDS)
