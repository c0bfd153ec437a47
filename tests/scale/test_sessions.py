"""Another set of sessions in one VRF costs the same with those of 10 and of 1,000 VRFs."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from controlplane.model.effects import ConfigureSpeakers, Effects
from controlplane.model.intent import PeerIntent
from controlplane.speaker import SpeakerPool, pool
from controlplane.store import open_store
from pe.executor import Executor
from tests.parts import LonePart
from tests.scale.work import assert_flat, by_function
from tests.unit.controlplane.rig import ce_peer
from tests.unit.policy.kernel import FakeKernel
from tests.unit.policy.node import FakeDataPlane

SMALL, LARGE = 10, 1000


class FakeProcess:
    """The sessions of one VRF, without a BGP process."""

    restarts, is_lost = 0, False

    def __init__(self, *_: object) -> None:
        self.peers: tuple[PeerIntent, ...] = ()

    def configure(self, peers: tuple[PeerIntent, ...], _: int = 0) -> None:
        self.peers = peers


def sessions(vrfs: int) -> dict[str, tuple[PeerIntent, ...]]:
    return {f"v{n}": (ce_peer(f"v{n}", "192.0.2.2"),) for n in range(vrfs)}


def work(folder: Path, vrfs: int, changed: int = 1) -> Counter[str]:
    """A session more in some of so many VRFs, and the end of it."""
    speakers = SpeakerPool(
        run_dir=Path("/"), user="nobody", router_id=IPv4Address("10.0.0.1"),
        emit=lambda _: None, log=lambda *_: None, part=LonePart(),
    )  # fmt: skip
    kernel, store = FakeKernel(), open_store(folder)
    executor = Executor(
        store, FakeDataPlane(), kernel, kernel, speakers, emit=lambda _: None,
        log=lambda *_: None, part=LonePart(), answer=lambda _: None, publish=lambda *_: None,
    )  # fmt: skip
    before = sessions(vrfs)
    executor.perform(Effects(actions=[ConfigureSpeakers(before, 120)]))
    after = {name: (*before[name], ce_peer(name, "192.0.2.6")) for name in list(before)[:changed]}
    less = {name: before[name] for name in after}

    def change() -> None:
        for peers in (after, less):
            executor.perform(Effects(actions=[ConfigureSpeakers(peers, 120)]))

    found = by_function(change)
    store.close()
    return found


def test_a_session_more_looks_at_no_other_vrf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SpeakerProcess", FakeProcess)
    small = work(tmp_path, SMALL)
    assert_flat(small, work(tmp_path, LARGE))
    assert work(tmp_path, SMALL, changed=SMALL).total() > 2 * small.total(), "the control"
