"""One attack lab a guest: brought up by the first test that wants it, taken down at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.attack.net import Net, ready
from labs.lab import running
from labs.topologies.attack import LAB


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    with running(LAB) as lab:
        net = Net(lab)
        ready(net)
        yield net
        net.close()
