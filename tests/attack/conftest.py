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
