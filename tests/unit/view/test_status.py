"""The status of the node, also after the wall clock was set."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controlplane.api.services import messages
from controlplane.model.desired import Desired
from pe.dataplane.foreign import ForeignObjects
from pe.process.gc_tuning import Heap
from pe.process.loop_lag import LagHistogram
from pe.view.node_view import LiveView
from tests.parts import LonePart
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode


@pytest.mark.parametrize("step", [-3600.0, 0.0, 3600.0])
def test_a_step_of_the_wall_clock_changes_no_uptime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Set back behind the start, it was negative, and the call ended with INTERNAL."""
    pe = PolicyNode(segment_intent(tmp_path))
    reloader = SimpleNamespace(intent=pe.intent, file="pe.yaml", loaded=time.time())
    maps = SimpleNamespace(flow_log=SimpleNamespace(problem=""))
    health, none = SimpleNamespace(in_sync=True, failing=list), cast(Any, None)
    actor = SimpleNamespace(foreign=ForeignObjects(Desired(), lambda *_: None, LonePart()))
    view = LiveView(
        pe.node, cast(Any, actor), none, cast(Any, reloader), cast(Any, maps), none, none,
        cast(Any, health), none, LagHistogram(), Heap(),
    )  # fmt: skip
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + step)
    assert messages.status(view.status()).uptime_seconds < 60
    pe.store.close()
