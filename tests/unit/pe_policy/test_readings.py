"""Counters are read over a socket of their own, also while a thread writes a batch."""

from __future__ import annotations

from typing import cast

from pe.nft.wire import SegmentSocket
from pe.policy.manager import PolicyMapManager


class Busy:
    """The socket over which a batch is on its way: its next answer is the acknowledgement."""

    def counters(self) -> dict[str, int]:
        raise AssertionError("the reading took the acknowledgement of a batch")


class Free:
    def counters(self) -> dict[str, int]:
        return {"judged_10": 3}


def test_a_scrape_does_not_read_from_the_socket_that_writes() -> None:
    manager = PolicyMapManager.__new__(PolicyMapManager)
    manager._nft = cast(SegmentSocket, Busy())
    manager._readings = cast(SegmentSocket, Free())
    assert manager.counters() == {"judged_10": 3}
