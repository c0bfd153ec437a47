"""What tests of the worker's parts have in common."""

from __future__ import annotations

import pytest

from controlplane.speaker import wire
from controlplane.speaker.worker import updates
from controlplane.speaker.worker.surface import log


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[wire.Malformed]:
    found: list[wire.Malformed] = []
    monkeypatch.setattr(updates, "report", found.append)
    for level in ("debug", "warning"):
        monkeypatch.setattr(log, level, lambda *_: None)
    return found
