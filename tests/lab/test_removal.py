"""The commands of docs/management.md that take a node off a machine leave nothing of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pe.netlink.ownership import PROTOCOL
from tests.lab.agents import founding_world, inside, until
from tests.lab.red_pe import red_node, red_pe
from tests.unit.controlplane.rig import port

TEXT = (Path(__file__).resolve().parents[2] / "docs/management.md").read_text()
DUAL = red_node(port("pe1-red", "red", "192.168.1.1/24", "fd00:1::1/64"))
OURS = f"proto {PROTOCOL}"


def script() -> str:
    """Return the commands but for those about the service and its files."""
    section = TEXT.partition("## Taking a node off a machine")[2]
    block = section.partition("```\n")[2].partition("```")[0]
    lines = [line for line in block.splitlines() if not line.startswith(("systemctl ", "rm "))]
    assert len(lines) > 15
    return "\n".join(lines)


def left() -> dict[str, str]:
    """Return what is there of a node, by the command that shows it."""
    shown = {
        "ip -o link show": "bulkhead",
        f"ip -4 route show table all {OURS}": "",
        f"ip -6 route show table all {OURS}": "",
        f"ip -f mpls route show {OURS}": "",
        "ip nexthop show": f"proto {PROTOCOL}",
        "ip -4 rule show": "32765:",
        "ip -6 rule show": "32765:",
        "nft list tables": "bulkhead",
        "ip -o address show dev pe1-red": "inet",
    }
    found = {}
    for command, word in shown.items():
        lines = [line for line in inside("pe1", command).splitlines() if word in line]
        if lines:
            found[command] = "\n".join(lines)
    return found


def test_nothing_of_a_node_is_left() -> None:
    with founding_world():
        with red_pe(DUAL) as pe:
            assert until(lambda: len(left()) >= 7), "the control"
            pe.kill()
            before = left()
            assert len(before) >= 7, "a node that ends leaves the kernel as it is"
            words = ["ip", "netns", "exec", "pe1", "sh", "-c", script()]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert left() == {}, done.stderr
            assert done.stderr == ""
        for family in ("-4", "-6"):
            assert inside("pe1", f"ip {family} rule show").startswith("0:\tfrom all lookup local")
        assert "state DOWN" in inside("pe1", "ip link show pe1-red")
        assert "master" not in inside("pe1", "ip link show pe1-red")
