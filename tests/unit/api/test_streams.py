"""Streams end with their caller's rights, and those of gRPC's own services are served."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.api import server as api_server
from controlplane.api.access.caller import Caller
from controlplane.model.intent import ApiRole
from tests.unit.api.segment_serving import segment_desk
from tests.unit.api.serving import node_intent, serving


@contextmanager
def uncollected() -> Iterator[None]:
    """Have the garbage collector not come to anything's help."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_stream_ends_with_its_callers_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = [Caller("uid:0", ApiRole.VIEWER)]
    monkeypatch.setattr(api_server, "local_caller", lambda _peer: who[0])
    watch = "/bulkhead.v1.Workloads/WatchWorkloads"
    with segment_desk(tmp_path) as desk, desk.running.client() as node:
        stream: Any = node.channel.unary_stream(watch, bytes, bytes)(b"", timeout=20)
        next(stream)  # what is there already was sent
        watchers = desk.pe.access.on_change
        assert len(watchers) == 1
        who[0] = Caller("uid:0", ApiRole.POLICY_EDITOR)
        with uncollected():
            desk.attach("w1", "10.0.0.7", tier="web")
            with pytest.raises(grpc.RpcError) as error:
                list(stream)
            assert cast(grpc.Call, error.value).code() is grpc.StatusCode.PERMISSION_DENIED
            assert watchers == [], "what the watch kept is gone with it"


def test_health_can_be_watched(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running, running.client() as node:
        health = health_pb2_grpc.HealthStub(node.channel)
        request = health_pb2.HealthCheckRequest(service="bulkhead.v1.Node")
        stream = health.Watch(request, timeout=20)
        assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
        stream.cancel()
