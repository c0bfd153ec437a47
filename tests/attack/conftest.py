"""One attack lab a guest: brought up by the first test that wants it, taken down at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from labs.attack.net import Net, ready
from labs.lab import ROOT, RunningLab, running
from labs.topologies.attack import LAB


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    with contextlib.ExitStack() as stack:
        # One that is up already (``pe lab up attack``) is used, and left up.
        present = (ROOT / LAB.name).exists()
        net = Net(RunningLab(LAB) if present else stack.enter_context(running(LAB)))
        stack.callback(net.close)
        ready(net)
        yield net


POLICY_REMAINS_AFTER = frozenset(
    {"test_dos_count.py", "test_dos_routes.py", "test_mgmt.py", "test_mgmt_roles.py"}
)
"""They attach workloads, whose addresses are in hold-down for five minutes afterwards: until then
their VRFs are under policy, so they are tracked, and datagrams are reassembled in them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those come last: what a VRF without policy is promised is tried on one."""
    items.sort(key=lambda item: item.path.name in POLICY_REMAINS_AFTER)
