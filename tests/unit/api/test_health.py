"""grpc.health.v1 says how the node is when it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from tests.unit.api.serving import Serving, node_intent, serving

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING


def stub(channel: grpc.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def check(running: Serving, service: str) -> int:
    with running.client() as node:
        return int(stub(node.channel).Check(pb.HealthCheckRequest(service=service)).status)


@pytest.mark.parametrize("service", ["", "bulkhead.v1.Node"])
def test_the_whole_changes_at_once(tmp_path: Path, service: str) -> None:
    with serving(node_intent(tmp_path)) as running:
        assert check(running, service) == SERVING
        running.node.health[""] = False
        assert check(running, service) == NOT_SERVING
        running.node.health[""] = True
        assert check(running, service) == SERVING


def test_each_part_has_a_name(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running:
        running.node.health = {"": True, "router": True, "policy": False}
        assert check(running, "router") == SERVING
        assert check(running, "policy") == NOT_SERVING


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running, pytest.raises(grpc.RpcError) as error:
        check(running, "dataplain")
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert "dataplane" in str(error.value.details())


def test_all_at_a_time(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running, running.client() as node:
        running.node.health = {"": True, "dataplane": False}
        statuses = stub(node.channel).List(pb.HealthListRequest()).statuses
        found = {name: answer.status for name, answer in statuses.items()}
    assert found["dataplane"] == NOT_SERVING
    assert found[""] == found["bulkhead.v1.Node"] == SERVING


def test_a_watch_gets_each_change(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running, running.client() as node:
        stream = stub(node.channel).Watch(pb.HealthCheckRequest(service="dataplane"), timeout=20)
        assert next(stream).status == SERVING
        running.node.health["dataplane"] = False
        assert next(stream).status == NOT_SERVING
        running.node.health["dataplane"] = True
        assert next(stream).status == SERVING
        stream.cancel()


def test_a_watch_of_what_does_not_exist_stays_open(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running, running.client() as node:
        stream = stub(node.channel).Watch(pb.HealthCheckRequest(service="later"), timeout=20)
        assert next(stream).status == pb.HealthCheckResponse.SERVICE_UNKNOWN
        running.node.health["later"] = True
        assert next(stream).status == SERVING
        stream.cancel()
