"""The kernel's own packet generator (Documentation/networking/pktgen.rst): a sender in user space
would measure system calls."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from labs.namespaces import inside
from perf.segment_frames import LABEL_BYTES, labelled, with_ports
from perf.segment_node import CE_PORT, CORE, CORE_PORT, GEN, LABEL, Site, mac

ROOT = Path("/proc/thread-self/net/pktgen")


@dataclass(frozen=True, slots=True)
class Traffic:
    """UDP packets of 60 bytes. ``flags`` as pktgen has them; ranges are first and last."""

    count: int
    source: tuple[str, str]
    target: tuple[str, str]
    sports: tuple[int, int]
    dport: int
    flags: tuple[str, ...] = ()

    def settings(self, site: Site) -> list[str]:
        """What is written to the device's file."""
        found = [
            f"count {self.count}", "clone_skb 0", "pkt_size 60", "delay 0",
            f"dst_mac {mac(site.pe, CE_PORT)}",
            f"src_min {self.source[0]}", f"src_max {self.source[1]}",
            f"dst_min {self.target[0]}", f"dst_max {self.target[1]}",
            f"udp_src_min {self.sports[0]}", f"udp_src_max {self.sports[1]}",
            f"udp_dst_min {self.dport}", f"udp_dst_max {self.dport}",
        ]  # fmt: skip
        return found + [f"flag {flag}" for flag in self.flags]


def send(site: Site, traffic: Traffic) -> float:
    """Send it all; packets a second, by the generator's own clock. Raises OSError."""
    with _prepared(site, traffic):
        _write("pgctrl", "start")
        result = (ROOT / site.generator).read_text()
    found = re.search(r"(\d+)pps", result)
    if not found:
        raise OSError(f"the packet generator says: {result}")
    return float(found.group(1))


def bursts(site: Site, traffic: Traffic, seconds: float, every: float) -> tuple[int, float]:
    """Send it again and again; packets sent, and the seconds that it took. Between two the CPU
    is free: the generator's own pauses would keep it busy."""
    sent, start = 0, monotonic()
    with _prepared(site, traffic):
        while (now := monotonic() - start) < seconds:
            _write("pgctrl", "start")
            sent += traffic.count
            sleep(max(0.0, now + every - (monotonic() - start)))
        return sent, monotonic() - start


def answer(site: Site, traffic: Traffic) -> None:
    """Have the other end answer each flow once: only then it is established. Of one source and
    one target."""
    target = mac(site.pe, CORE_PORT)
    ends = (traffic.target[0], traffic.source[0])
    first = labelled(target, LABEL, ends, (traffic.dport, 0))
    with inside(CORE), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((site.core, 0))
        for sport in range(traffic.sports[0], traffic.sports[1] + 1):
            raw.send(with_ports(first, (traffic.dport, sport), LABEL_BYTES))


@contextlib.contextmanager
def _prepared(site: Site, traffic: Traffic) -> Iterator[None]:
    with inside(GEN):
        _write("kpktgend_0", "rem_device_all")
        _write("kpktgend_0", f"add_device {site.generator}")
        for setting in traffic.settings(site):
            _write(site.generator, setting)
        yield
        _write("kpktgend_0", "rem_device_all")


def _write(file: str, words: str) -> None:
    with (ROOT / file).open("w") as out:
        out.write(words + "\n")
