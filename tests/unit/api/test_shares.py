"""MGMT-4: what one tenant, and one document, may take of a node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from msgspec.structs import replace

from controlplane.api.answers.documents import LONGEST
from controlplane.policy.language.rulebook import MOST_RULES
from tests.unit.api.segment_serving import Desk, segment_desk
from tests.unit.api.test_roles import refused

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with segment_desk(tmp_path) as found:
        yield found


def test_a_vrf_has_no_more_workloads_than_its_limit(desk: Desk) -> None:
    """Those that are there may still change, another VRF has its own share, and who makes room
    gets room."""
    intent = desk.pe.intent
    limited = tuple(replace(vrf, workload_limit=2) for vrf in intent.vrfs)
    desk.policy.intent = replace(intent, vrfs=limited)
    desk.attach("w1", "10.0.0.1")
    desk.attach("w2", "10.0.0.2")
    with pytest.raises(grpc.RpcError, match="as many as it may") as error:
        desk.attach("w3", "10.0.0.3")
    assert cast(grpc.Call, error.value).code() is EXHAUSTED
    desk.attach("w2", "10.0.0.4", tier="web")
    desk.segment.attach("other", "blue", "q1", ["10.0.0.1"], {})
    desk.segment.detach("w1")
    desk.attach("w3", "10.0.0.3")
    assert {w.name for w in desk.segment.list_workloads()} == {"w2", "w3", "other"}


def test_a_document_has_a_size(desk: Desk) -> None:
    text = "rules: []\n" + "#" * (LONGEST - 10)
    assert refused(lambda: desk.segment.check(text)) is None
    for call in (desk.segment.check, desk.segment.stage, desk.segment.what_if):
        assert refused(lambda call=call: call(text + "#")) is EXHAUSTED  # type: ignore[misc]


def test_a_document_has_a_number_of_rules(desk: Desk) -> None:
    """One more than may be is refused at once, and not after having read them all."""
    rules = "rules:\n" + "- allow any to any on tcp/1\n" * (MOST_RULES + 1)
    (problem,) = desk.segment.check(rules).problems
    assert (problem.path, problem.line) == ("rules", 1)
    assert str(MOST_RULES) in problem.problem


def test_the_number_of_reported_faults_is_bounded(desk: Desk) -> None:
    rules = "rules:\n" + "- nonsense\n" * 5000
    assert len(desk.segment.check(rules).problems) == 1000


def test_depth_is_bounded(desk: Desk) -> None:
    for text in ("[" * 100_000, "a: " + "[" * 500 + "]" * 500, "{a: " * 300 + "}" * 300):
        assert desk.segment.check(text).problems
