"""Label spoofing from a CE (RFC 4364 section 6, RFC 4381 section 3.4), with its control.

The same two frames go to pe1 twice: first with the guard in place, then with it taken away under
a stopped node. They have to be dropped and counted the first time and to arrive the second time;
afterwards the node has to find its guard gone and put it back.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial

from labs import packets
from labs.checks.node import show
from labs.checks.wire import command as wire
from labs.lab import RunningLab
from labs.topology import Outcome
from labs.waiting import until

PORT = 4711
FORMS = {"an untagged labelled packet": (), "a priority-tagged labelled packet": (0,)}


def label_attack(lab: RunningLab) -> Iterator[Outcome]:
    """ce-red-1 sends packets with blue's label of pe1; the victim is ce-blue-1."""
    label = next(e["label"] for e in show(lab, "pe1", "labels") if e["vrf"] == "blue")
    frames = {title: _frame(lab, label, vlans) for title, vlans in FORMS.items()}
    _count_at_victim(lab)
    for title, frame in frames.items():
        dropped, seen = _drops(lab), _arrived(lab)
        lab.run("ce-red-1", *wire(), "send", "eth0", *[frame.hex()] * 10)
        counted = until(partial(_at_least, _drops, lab, dropped + 10), 5.0)
        ok = counted and _arrived(lab) == seen
        told = f"{_drops(lab) - dropped} of 10 counted as dropped, {_arrived(lab) - seen} arrived"
        yield Outcome(ok, f"{title} from a CE is dropped and counted", told)
    yield from _control(lab, frames)


def _control(lab: RunningLab, frames: dict[str, bytes]) -> Iterator[Outcome]:
    node = lab.pid("pe1", "pe")
    assert node is not None  # noqa: S101 - it answered just now
    os.kill(node, signal.SIGSTOP)
    try:
        lab.run("pe1", "nft", "delete", "table", "netdev", EDGE_TABLE)
        lab.run("pe1", "sysctl", "-qw", "net.mpls.conf.ce-red.input=1")
        for title, frame in frames.items():
            seen = _arrived(lab)
            lab.run("ce-red-1", *wire(), "send", "eth0", *[frame.hex()] * 10)
            ok = until(partial(_at_least, _arrived, lab, seen + 10), 5.0)
            yield Outcome(
                ok, f"{title}, guard off: it arrives", f"{_arrived(lab) - seen} of 10 arrived"
            )
    finally:
        os.kill(node, signal.SIGCONT)
    back = until(lambda: _guarded(lab), 20.0, every=0.5)
    yield Outcome(
        back, "the node notices and puts its guard back", "table and sysctl are there again"
    )


EDGE_TABLE = "bulkhead"


def _guarded(lab: RunningLab) -> bool:
    table = lab.run("pe1", "nft", "list", "table", "netdev", EDGE_TABLE, check=False)
    value = lab.run("pe1", "sysctl", "-n", "net.mpls.conf.ce-red.input").stdout.strip()
    return table.returncode == 0 and value == "0"


def _frame(lab: RunningLab, label: int, vlans: tuple[int, ...]) -> bytes:
    inner = packets.udp("10.2.0.1", "10.1.0.1", PORT, b"spoof")
    target, source = _mac(lab, "pe1", "ce-red"), _mac(lab, "ce-red-1", "eth0")
    return packets.ethernet(target, source, packets.ETH_MPLS, packets.stack(label) + inner, vlans)


def _mac(lab: RunningLab, node: str, port: str) -> bytes:
    links = json.loads(lab.run(node, "ip", "-j", "link", "show", "dev", port).stdout)
    return packets.mac(links[0]["address"])


def _at_least(count: Callable[[RunningLab], int], lab: RunningLab, wanted: int) -> bool:
    return count(lab) >= wanted


def _count_at_victim(lab: RunningLab) -> None:
    rules = (
        "table inet tap { counter spoof { } ; chain pre { "
        "type filter hook prerouting priority -400; "
        f"udp dport {PORT} counter name spoof ; }} ; }}"
    )
    lab.run("ce-blue-1", "nft", rules)


def _arrived(lab: RunningLab) -> int:
    text = lab.run("ce-blue-1", "nft", "-j", "list", "counters", "table", "inet", "tap").stdout
    return sum(o["counter"]["packets"] for o in json.loads(text)["nftables"] if "counter" in o)


def _drops(lab: RunningLab) -> int:
    """What pe1's guards have dropped on red's port."""
    guards = show(lab, "pe1", "guards")
    return sum(g["packets"] for g in guards if g["port"] == "ce-red" and g["action"] == "drop")
