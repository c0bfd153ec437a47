"""Scratch VRFs of a selftest: in the kernel like any other, not advertised, gone again."""

from __future__ import annotations

import pytest

from controlplane.model.desired import Desired
from controlplane.model.effects import Announce, ConfigureSpeakers, SaveLabels
from controlplane.model.events import SelftestBegan, SelftestEnded
from controlplane.model.instant import BootTime
from controlplane.model.label import LabelBlock, LabelLedger
from controlplane.vpn.labels import LabelAllocator, LabelsExhaustedError
from pe.selftest.world import B1, BLUE, CORE, FAR_LABELS, R1, R2, RED, scratch
from tests.unit.controlplane.rig import PE2, Rig, node, static, vrf

CUSTOMER = vrf("red", 1, static_routes=(static("10.1.0.0/16", "192.0.2.2", "red-ce"),))
RELEASED = BootTime("boot-1", 0.0)
WISH = scratch(65000)


@pytest.fixture
def rig() -> Rig:
    found = Rig(CUSTOMER).started()
    found.port("red-ce")
    found.up()
    return found


def everything(desired: Desired) -> dict[str, dict[object, object]]:
    return {name: dict(getattr(desired, name)) for name in desired.__struct_fields__[1:]}


def test_it_is_wanted_like_any_other_vrf(rig: Rig) -> None:
    rig.do(SelftestBegan(WISH))
    wanted, labels = rig.kernel, rig.router.scratch.labels
    assert labels == {RED: 16099, BLUE: 16098}
    assert {RED, BLUE} < set(wanted.vrfs)
    assert {R1, R2, B1} < set(wanted.ce_ports)
    assert wanted.ce_ports[R1].sources is not None
    assert CORE in wanted.core_ports
    assert {wanted.labels[n].vrf for n in labels.values()} == {RED, BLUE}
    assert {s.min_ttl for s in wanted.sessions.values() if s.port == R1} == {255}
    hops = {str(p): wanted.next_hops[k] for p, k in wanted.routes[16099].items()}
    assert hops["198.18.19.0/24"].paths[0].labels == FAR_LABELS
    assert hops["198.18.11.0/24"].paths[0].device == R1
    assert len({vrf.table for vrf in wanted.vrfs.values()}) == 3
    assert len({port.zone for port in wanted.ce_ports.values()}) == 3


def test_nothing_is_advertised(rig: Rig) -> None:
    before = rig.received_by(PE2)
    rig.do(SelftestBegan(WISH))
    for kind in (Announce, ConfigureSpeakers, SaveLabels):
        assert rig.actions(kind) == []
    assert rig.received_by(PE2) == before
    assert set(rig.router.vrfs) == {"red"}
    assert set(rig.router.peers) == {PE2}


def test_nothing_of_it_stays(rig: Rig) -> None:
    before = everything(rig.kernel)
    rig.do(SelftestBegan(WISH))
    assert everything(rig.kernel) != before
    rig.do(SelftestEnded())
    assert everything(rig.kernel) == before
    assert rig.router.scratch.labels is None
    assert rig.router.ledger.held == {"red": 16000}
    assert {by for _, by in rig.router.ledger.held_down.values()} == {v.name for v in WISH.vrfs}


def test_its_labels_go_to_no_other_vrf_while_and_after_it_is_there(rig: Rig) -> None:
    """A connection of the selftest would be one of the VRF that has its zone next."""
    block = LabelBlock(16000, 16000 + len(WISH.vrfs))
    small = Rig(CUSTOMER, label_block=block).started()
    small.do(SelftestBegan(WISH))
    first = dict(small.router.scratch.labels or {})
    two = node(CUSTOMER, vrf("green", 3), label_block=block)
    small.reload(two)
    assert small.notices() == ["intent_refused"]
    small.do(SelftestEnded())
    small.reload(two)
    assert small.notices() == ["intent_refused"]
    small.do(SelftestBegan(WISH))
    assert small.router.scratch.labels == first, "the selftest itself gets them again"
    small.do(SelftestEnded())
    small.wait(600)
    small.reload(two)
    assert set(small.kernel.vrfs) == {"red", "green"}


def test_the_customers_objects_are_not_touched(rig: Rig) -> None:
    before = everything(rig.kernel)
    delta = rig.do(SelftestBegan(WISH)).delta
    assert delta.node is None
    for name, table in before.items():
        assert not set(getattr(delta, name)) & set(table), name


def test_a_second_one_changes_nothing(rig: Rig) -> None:
    rig.do(SelftestBegan(WISH))
    assert not rig.do(SelftestBegan(WISH)).delta
    assert rig.router.scratch.refusal


def test_a_changed_configuration_ends_it(rig: Rig) -> None:
    """Its labels may be another's by then."""
    rig.do(SelftestBegan(WISH))
    rig.reload(node(CUSTOMER, vrf("green", 3), core_ports=()))
    assert rig.router.scratch.labels is None
    assert set(rig.kernel.vrfs) == {"red", "green"}
    assert set(rig.kernel.core_ports) == set()
    assert not rig.do(SelftestEnded()).delta


def test_without_free_labels_there_is_none() -> None:
    rig = Rig(CUSTOMER, label_block=LabelBlock(16000, 16001)).started()
    assert not rig.do(SelftestBegan(WISH)).delta
    assert "16000-16001" in rig.router.scratch.refusal


def test_borrowed_labels_are_unallocated_ones() -> None:
    ledger = LabelLedger({"a": 103}, {102: (RELEASED, "b")})
    allocator = LabelAllocator(LabelBlock(100, 103), 600, ledger, avoid=(101,))
    with pytest.raises(LabelsExhaustedError):
        allocator.borrow(["x", "y"], RELEASED)
    assert ledger == LabelLedger({"a": 103}, {102: (RELEASED, "b")})
    assert allocator.borrow(["x"], RELEASED) == {"x": 100}
    assert ledger.held_down == {102: (RELEASED, "b"), 100: (RELEASED, "x")}
