"""The same events give the same effects in the same order, in any process: a recording can be
replayed. Hashes of bytes differ from process to process, so that an order by hash would show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from controlplane.model.effects import Announce, Effects, Withdraw
from controlplane.model.events import SpeakerLost
from controlplane.model.peer import PeerId
from tests.unit.controlplane.rig import PE2, Rig, ce_peer, node, static, targets, vrf

CE = PeerId("red", ip_address("192.0.2.2"))


PRINT = """
from tests.unit.controlplane.test_replay import recording
print(*recording(), sep="\\n")
"""


def recording() -> list[str]:
    """A busy hour, a line an effect."""
    both = targets("65000:1", "65000:2")
    red = vrf("red", 1, export_targets=both, neighbors=(ce_peer("red", "192.0.2.2"),))
    blue = vrf("blue", 2, import_targets=both, static_routes=(static("10.5.0.0/16"),))
    hub = vrf("hub", 3, import_targets=both, ports=())
    rig = Rig(red, blue, hub).ready().started()
    nets = [f"10.{i}.0.0/16" for i in range(20, 60)]
    lines = []
    turns: list[Callable[[], Effects]] = [
        lambda: rig.up(CE),
        lambda: rig.ce(CE, *nets[:20]),
        lambda: rig.vpn(*nets[10:]),
        lambda: rig.do(SpeakerLost("red", "killed")),
        lambda: rig.up(CE, restart_time=100),
        lambda: rig.ce(CE, *nets[5:12]),
        lambda: rig.wait(1000),
        lambda: rig.underlay(to="10.255.0.2/32"),
        lambda: rig.underlay("10.0.0.2"),
        lambda: rig.reload(node(red, vrf("green", 4))),
        lambda: rig.down(PE2),
    ]
    for turn in turns:
        turn()
        lines += _lines(rig)
    return lines


def _lines(rig: Rig) -> list[str]:
    delta = rig.last.delta
    lines = [f"{table} {p} {hop}" for table, routes in delta.routes.items()
             for p, hop in routes.items()]  # fmt: skip
    lines += [str(key) for part in (delta.vrfs, delta.ce_ports, delta.labels, delta.next_hops)
              for key in part]  # fmt: skip
    for action in rig.last.actions:
        nlri = action.nlri if isinstance(action, Announce | Withdraw) else []
        lines.append(f"{type(action).__name__} {' '.join(str(n.prefix) for n in nlri)}")
    return lines


def test_two_processes_agree_on_every_word_and_its_place() -> None:
    found = set()
    for seed in ("1", "2"):
        environment = {
            **os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PRINT], env=environment, check=True, capture_output=True
        )
        found.add(done.stdout)
    (lines,) = found
    assert len(lines.splitlines()) > 200
