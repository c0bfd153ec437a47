"""The kernel's own packet generator (Documentation/networking/pktgen.rst): a sender in user space
would measure system calls."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from perf.namespaces import inside
from perf.segment_node import GEN, PE, mac

ROOT = Path("/proc/thread-self/net/pktgen")


@dataclass(frozen=True, slots=True)
class Traffic:
    """UDP packets of 60 bytes. ``flags`` as pktgen has them; ports are first and last."""

    count: int
    source: tuple[str, str]
    target: tuple[str, str]
    sports: tuple[int, int]
    dports: tuple[int, int]
    flags: tuple[str, ...] = ()

    def settings(self) -> list[str]:
        """What is written to the device's file."""
        found = [
            f"count {self.count}", "clone_skb 0", "pkt_size 60", "delay 0",
            f"dst_mac {mac(PE, 'pe-gen')}",
            f"src_min {self.source[0]}", f"src_max {self.source[1]}",
            f"dst_min {self.target[0]}", f"dst_max {self.target[1]}",
            f"udp_src_min {self.sports[0]}", f"udp_src_max {self.sports[1]}",
            f"udp_dst_min {self.dports[0]}", f"udp_dst_max {self.dports[1]}",
        ]  # fmt: skip
        return found + [f"flag {flag}" for flag in self.flags]


def send(traffic: Traffic) -> float:
    """Send it all; packets a second, by the generator's own clock. Raises OSError."""
    with _prepared(traffic):
        _tell("pgctrl", "start")
        result = (ROOT / "up0").read_text()
    found = re.search(r"(\d+)pps", result)
    if not found:
        raise OSError(f"the packet generator says: {result}")
    return float(found.group(1))


def bursts(traffic: Traffic, seconds: float, every: float) -> tuple[int, float]:
    """Send it again and again; packets sent, and the seconds that it took. Between two the CPU
    is free: the generator's own pauses would keep it busy."""
    sent, start = 0, monotonic()
    with _prepared(traffic):
        while (now := monotonic() - start) < seconds:
            _tell("pgctrl", "start")
            sent += traffic.count
            sleep(max(0.0, now + every - (monotonic() - start)))
        return sent, monotonic() - start


@contextlib.contextmanager
def _prepared(traffic: Traffic) -> Iterator[None]:
    with inside(GEN):
        _tell("kpktgend_0", "rem_device_all")
        _tell("kpktgend_0", "add_device up0")
        for setting in traffic.settings():
            _tell("up0", setting)
        yield
        _tell("kpktgend_0", "rem_device_all")


def _tell(file: str, words: str) -> None:
    with (ROOT / file).open("w") as out:
        out.write(words + "\n")
