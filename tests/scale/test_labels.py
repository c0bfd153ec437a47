"""Labels: the work for one VRF more does not grow with the VRFs that have theirs."""

from __future__ import annotations

from collections import Counter

from controlplane.model.instant import BootTime
from controlplane.model.label import LabelBlock, LabelLedger
from controlplane.vpn.labels import LabelAllocator
from tests.scale.work import assert_flat, by_function


def work_per_vrf(vrfs: int) -> Counter[str]:
    """The lines that one of ``vrfs`` new VRFs costs when they come in one reload."""
    allocator = LabelAllocator(LabelBlock(16000, 31999), 600, LabelLedger())
    names = [f"vrf{n}" for n in range(vrfs)]
    found = by_function(lambda: allocator.assign(names, BootTime("boot-1", 0.0)))
    return Counter({name: lines // vrfs for name, lines in found.items()})


def test_a_new_vrf_costs_the_same_in_a_reload_of_20_and_of_2000() -> None:
    assert_flat(work_per_vrf(20), work_per_vrf(2000))
