"""One PE whose VRF is or is not under policy, between a packet generator and the core.

::

    seg-gen ── pe-gen [seg-pe: VRF red] core0 ── seg-core

The process that calls ``enter`` is in the PE's namespace from then on.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    NextHop,
    NextHopKey,
    NextHopPath,
    Node,
    VrfDevice,
)
from controlplane.model.prefix import Afi, parse_prefix
from perf.namespaces import inside

PE, GEN, CORE = "seg-pe", "seg-gen", "seg-core"
VRF, ZONE, TABLE = "red", 10, 1010
LABEL = 17000
ROOM = Path("/proc/sys/net/netfilter/nf_conntrack_max")
CONNECTIONS = 500_000


def run(*words: str, stdin: str = "") -> str:
    """Run a program; what it says. Raises CalledProcessError."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """The three namespaces, wired; the calling thread is in the PE's."""
    most = ROOM.read_text()
    ROOM.write_text(str(max(CONNECTIONS, int(most))))  # only the initial namespace may
    for name in (PE, GEN, CORE):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    try:
        _wire("pe-gen", GEN, "192.168.1.2/30")
        _wire("core0", CORE, "10.0.9.2/30")
        for words in ("addr add 10.255.0.1/32 dev lo", "addr add 10.0.9.1/30 dev core0"):
            run("ip", "-n", PE, *words.split())
        run("ip", "-n", PE, "link", "set", "core0", "up")
        with inside(PE):
            run("sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=0")
            yield
    finally:
        for name in (PE, GEN, CORE):
            run("ip", "netns", "delete", name)
        ROOM.write_text(most)


def _wire(port: str, other: str, address: str) -> None:
    run("ip", "link", "add", port, "netns", PE, "type", "veth", "peer", "up0", "netns", other)
    run("ip", "-n", other, "addr", "add", address, "dev", "up0")
    run("ip", "-n", other, "link", "set", "up0", "up")


@functools.cache
def mac(namespace: str, port: str) -> str:
    """The address of a port on the wire."""
    return run("ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{port}/address").strip()


def desired() -> Delta:
    """The VRF, its port, and a default route with a label into the core."""
    delta = Delta(node=Node("pe", (ip_address("10.255.0.1"),), 20000))
    delta.core_ports["core0"] = CorePort("core0")
    delta.vrfs[VRF] = VrfDevice(VRF, TABLE)
    links = (ip_interface("192.168.1.1/30"),)
    delta.ce_ports["pe-gen"] = CePort("pe-gen", VRF, ZONE, links, None)
    key = NextHopKey(Afi.IPV4, ip_address("10.255.0.9"), label=LABEL)
    hop = NextHop(key, (NextHopPath(ip_address("10.0.9.2"), "core0", (LABEL,)),))
    delta.next_hops[key] = hop
    delta.routes[TABLE] = {parse_prefix("0.0.0.0/0"): key}
    return delta


def settle_neighbours() -> None:
    """Have the PE know the core without asking."""
    there = mac(CORE, "up0")
    words = f"neigh replace 10.0.9.2 lladdr {there} dev core0 nud permanent"
    run("ip", "-n", PE, *words.split())


class Sender:
    """A process that sends new flows to some ports at a pace; see perf/segment_burst.py."""

    def __init__(self, rate: int, seconds: int, *dports: int) -> None:
        words = [str(word) for word in (rate, seconds, mac(PE, "pe-gen"), *dports)]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", GEN, sys.executable, "-m", "perf.segment_burst", *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self._process.stdout.readline()

    @property
    def sending(self) -> bool:
        """False once all is sent."""
        return self._process.poll() is None

    def wait(self) -> tuple[int, float]:
        """Packets sent, and the seconds that it took. Raises RuntimeError."""
        words = self._process.communicate()[0].split()
        if self._process.returncode or len(words) != 2:
            raise RuntimeError("the sender failed")
        return int(words[0]), float(words[1])


def arrived() -> int:
    """Packets that the core has got so far."""
    with inside(CORE):
        found = Path("/proc/thread-self/net/dev").read_text()
    line = next(line for line in found.splitlines() if line.strip().startswith("up0:"))
    return int(line.split()[2])
