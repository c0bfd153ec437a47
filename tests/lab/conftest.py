"""The world of the tests about segments: one a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import quiet_world, under_rules


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quiet_world() as made:
        yield made


@pytest.fixture
def process(world: World) -> Iterator[NodeProcess]:
    """A node under RULES; modules that want another one have their own."""
    with under_rules(world) as node_process:
        yield node_process
