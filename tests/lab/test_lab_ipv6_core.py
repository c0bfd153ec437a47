"""The lab ``ipv6_core`` shows what it claims."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.lab import RunningLab, running
from labs.topologies.ipv6_core import LAB
from labs.topology import Check
from tests.lab.claims import hold


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        yield up


@pytest.mark.parametrize("check", LAB.checks, ids=lambda check: check.__name__)
def test_claim(lab: RunningLab, check: Check) -> None:
    hold(lab, check)
