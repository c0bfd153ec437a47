"""A node with the services of microsegmentation, and one with two workloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.segment_serving import PAY, WEB, Desk, segment_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with segment_desk(tmp_path) as made:
        yield made


@pytest.fixture
def company(desk: Desk) -> Desk:
    desk.attach("web", WEB, tier="web")
    desk.attach("pay", PAY, app="payroll", scope="pci")
    return desk
