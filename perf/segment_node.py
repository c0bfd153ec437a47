"""PEs whose VRF is or is not under policy, each between a packet generator and the core.

::

    seg-gen   g0 ── pe-gen [seg-pe0: VRF red] core0 ── c0   seg-core
              g1 ── pe-gen [seg-pe1: VRF red] core0 ── c1

Every PE has the same addresses: none of them knows of the others.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    LabelBinding,
    NextHop,
    NextHopKey,
    NextHopPath,
    Node,
    VrfDevice,
)
from controlplane.model.label import Label
from controlplane.model.prefix import Afi, parse_prefix
from labs.namespaces import inside

GEN, CORE = "seg-gen", "seg-core"
CE_PORT, CORE_PORT = "pe-gen", "core0"
VRF, ZONE, TABLE = "red", 10, 1010
LABEL, REMOTE_LABEL = 16010, 17000
CLIENT = "10.1.0.0"
"""Who asks: the only address that a route leads back to the generator for."""
ROOM = Path("/proc/sys/net/netfilter/nf_conntrack_max")
CONNECTIONS = 1_000_000
UDP_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Site:
    """One PE: its namespace, and the ports at the other ends of its links."""

    number: int

    @property
    def pe(self) -> str:
        """The PE's namespace."""
        return f"seg-pe{self.number}"

    @property
    def generator(self) -> str:
        """The port of the generator's namespace."""
        return f"g{self.number}"

    @property
    def core(self) -> str:
        """The port of the core's namespace."""
        return f"c{self.number}"

    def arrived(self) -> int:
        """Packets that the core has got so far."""
        with inside(CORE):
            found = Path("/proc/thread-self/net/dev").read_text()
        lines = (line.split(":") for line in found.splitlines() if ":" in line)
        return next(int(rest.split()[1]) for port, rest in lines if port.strip() == self.core)


def run(*words: str, stdin: str = "") -> str:
    """Run a program; what it says. Raises RuntimeError with what it complained of."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def sites(count: int) -> Iterator[list[Site]]:
    """So many PEs' namespaces, wired, with the generator's and the core's."""
    most = ROOM.read_text()
    ROOM.write_text(str(max(CONNECTIONS, int(most))))  # only the initial namespace may
    made = [Site(number) for number in range(count)]
    names = [GEN, CORE, *(site.pe for site in made)]
    mac.cache_clear()
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for name in (GEN, CORE):  # what they say themselves would be counted
            run(
                "ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"
            )
        for site in made:
            _wire(site)
        yield made
    finally:
        for name in names:
            run("ip", "netns", "delete", name)
        ROOM.write_text(most)


def _wire(site: Site) -> None:
    for port, other, theirs in ((CE_PORT, GEN, site.generator), (CORE_PORT, CORE, site.core)):
        ends = ("link", "add", port, "netns", site.pe, "type", "veth", "peer", theirs)
        run("ip", *ends, "netns", other)
        run("ip", "-n", other, "link", "set", theirs, "up")
    run("ip", "-n", site.pe, "addr", "add", "10.255.0.1/32", "dev", "lo")
    run("ip", "-n", site.pe, "addr", "add", "10.0.9.1/30", "dev", CORE_PORT)
    run("ip", "-n", site.pe, "link", "set", CORE_PORT, "up")
    settings = ("nf_conntrack_checksum=0", f"nf_conntrack_udp_timeout={UDP_SECONDS}")
    for setting in settings:
        words = ("sysctl", "-qw", f"net.netfilter.{setting}")
        run("ip", "netns", "exec", site.pe, *words)


@functools.cache
def mac(namespace: str, port: str) -> str:
    """The address of a port on the wire."""
    return run("ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{port}/address").strip()


def desired() -> Delta:
    """The VRF, its port and label, a default route into the core, and a route back."""
    delta = Delta(node=Node("pe", (ip_address("10.255.0.1"),), 20000))
    delta.core_ports[CORE_PORT] = CorePort(CORE_PORT)
    delta.vrfs[VRF] = VrfDevice(VRF, TABLE)
    label = Label(LABEL)
    delta.labels[label] = LabelBinding(label, VRF)
    links = (ip_interface("192.168.1.1/30"),)
    delta.ce_ports[CE_PORT] = CePort(CE_PORT, VRF, ZONE, links, None)
    away = NextHopKey(Afi.IPV4, ip_address("10.255.0.9"), label=REMOTE_LABEL)
    path = NextHopPath(ip_address("10.0.9.2"), CORE_PORT, (REMOTE_LABEL,))
    delta.next_hops[away] = NextHop(away, (path,))
    back = NextHopKey(Afi.IPV4, ip_address("192.168.1.2"), device=CE_PORT)
    delta.next_hops[back] = NextHop(back, (NextHopPath(ip_address("192.168.1.2"), CE_PORT),))
    delta.routes[TABLE] = {parse_prefix("0.0.0.0/0"): away, parse_prefix(f"{CLIENT}/32"): back}
    return delta


def settle_neighbours(site: Site) -> None:
    """Have the PE know its neighbours without asking. Call when its ports are up."""
    for address, namespace, theirs, port in (
        ("10.0.9.2", CORE, site.core, CORE_PORT),
        ("192.168.1.2", GEN, site.generator, CE_PORT),
    ):
        there = mac(namespace, theirs)
        words = f"neigh replace {address} lladdr {there} dev {port} nud permanent"
        run("ip", "-n", site.pe, *words.split())


class Sender:
    """A process that sends new flows to some ports at a pace; see perf/segment_burst.py."""

    def __init__(self, site: Site, rate: int, seconds: int, dports: Sequence[int]) -> None:
        numbers = [str(number) for number in (rate, seconds)]
        words = [*numbers, site.generator, mac(site.pe, CE_PORT), *map(str, dports)]
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
