"""Keys that differ leave a session down without a word: the kernel's counts are a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.model.view import NeighborView
from pe.observe.tcp_signatures import SignatureDrops, signature_drops
from pe.view.sessions import neighbor_rows
from tests.unit.controlplane.rig import PE2, Rig, pe_peer, vrf


def row(rig: Rig, drops: int) -> NeighborView:
    (found,) = neighbor_rows(rig.router, (), rig.now, drops)
    return found


@pytest.mark.parametrize(("drops", "hint"), [(0, False), (7, True)])
def test_a_session_that_is_down_has_the_hint(drops: int, hint: bool) -> None:
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2, md5="k"),))
    assert ("7 TCP segments" in row(rig, drops).last_error) is hint


def test_a_session_that_is_up_has_none() -> None:
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2, md5="k"),)).ready()
    assert row(rig, 7).last_error == ""


def test_the_counts_are_the_kernels(tmp_path: Path) -> None:
    file = tmp_path / "netstat"
    file.write_text(
        "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\n"
        "TcpExt: 5 1 2 3\nIpExt: InNoRoutes\nIpExt: 0\n"
    )
    assert signature_drops(file) == SignatureDrops(missing=1, unexpected=2, wrong=3)
    assert signature_drops(tmp_path / "none") == SignatureDrops()
    assert signature_drops().total >= 0
