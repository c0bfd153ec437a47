"""The attack lab as its attackers and judges see it: ports, legitimate traffic, counters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial

import grpc
from bulkhead.client import Node as Client
from bulkhead.client import connect

from labs.attack import ip, link, plan
from labs.attack.port import Port, Tap, token
from labs.lab import RunningLab
from labs.topologies.attack import HOME
from labs.waiting import until
from pe.nft.names import name as nft_name

PROBE_PORT = 4711
PATIENCE = 60.0


@dataclass(frozen=True)
class Circuit:
    """An attachment circuit: the customer's end, the PE's end, the site behind it."""

    vpn: str
    site: int
    ce: Port
    pe: Port

    def frame(self, packet: bytes) -> bytes:
        """A packet as the CE sends it to its PE."""
        return link.ethernet(self.pe.mac, self.ce.mac, link.ethertype(packet), packet)


def circuit(vpn: str, site: int) -> Circuit:
    """The circuit of ``ce-VPN-SITE``."""
    name = f"ce-{vpn}-{site}"
    return _circuit(vpn, site, name, HOME[site])


@cache
def _circuit(vpn: str, site: int, name: str, home: str) -> Circuit:
    return Circuit(vpn, site, Port(name, "eth0"), Port(home, name))


class Net:
    """The running attack lab."""

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab
        self.p = Port("p", "pe1")

    @cached_property
    def pe1(self) -> Client:
        """The API of the PE under attack."""
        return connect(str(self.lab.dir("pe1") / "run/api.sock"), timeout=30.0)

    @cached_property
    def pe2(self) -> Client:
        """The API of the other PE."""
        return connect(str(self.lab.dir("pe2") / "run/api.sock"), timeout=30.0)

    def close(self) -> None:
        """Close the connections to the nodes."""
        self.pe1.close()
        self.pe2.close()

    def reconnect(self) -> None:
        """pe1 was started again."""
        self.pe1.close()
        del self.__dict__["pe1"]

    def core_is_up(self) -> bool:
        """True while pe1 has a session with the other PE."""
        return _speaks(self.pe1)

    def label(self, vpn: str, node: str = "pe1") -> int:
        """The label of a VPN at a PE."""
        client: Client = getattr(self, node)
        return next(v.label for v in client.show_vrfs() if v.name == vpn)

    def dropped(self, subject: str = "", requirement: str = "") -> int:
        """Packets that pe1's guards dropped: all, of a port or VRF, for a requirement."""
        wanted = nft_name(subject)
        return sum(
            guard.packets
            for guard in self.pe1.show_guards()
            if guard.action != "accept"
            and wanted in ("", guard.name.partition("__")[2])
            and _number(requirement) in (("", 0), _number(guard.requirement))
        )

    def legitimate(self, origin: Circuit, target: Circuit, version: int, mark: bytes) -> bytes:
        """A packet of a VPN, from one of its sites to another."""
        source = plan.lan(origin.site, version)
        packet = ip.udp(source, plan.lan(target.site, version), PROBE_PORT, mark)
        return origin.frame(packet)

    def passes(self, origin: Circuit, target: Circuit, version: int = 4, tries: int = 10) -> bool:
        """True if a legitimate packet arrives; sent again each half second (neighbours may have
        to be found first)."""
        mark = token()
        with target.ce.tap() as tap:
            for _ in range(tries):
                origin.ce.send(self.legitimate(origin, target, version, mark))
                if tap.wait(mark, 0.5):
                    return True
        return False

    def sentinel(self, origin: Circuit, *, version: int = 4) -> None:
        """Send a legitimate packet behind an attack and wait until it is through PE, core and PE:
        the attack before it has then passed or been dropped. AssertionError if it is lost."""
        assert self.passes(origin, circuit(origin.vpn, 2), version), f"sentinel of {origin.ce} lost"  # noqa: S101

    def warm(self) -> None:
        """Wait until every VPN's sites reach each other; finds all neighbours on the way."""
        for vpn in ("red", "blue"):
            for origin, target in ((1, 2), (2, 1), (3, 2), (2, 3), (1, 3), (3, 1)):
                for version in (4, 6):
                    ends = circuit(vpn, origin), circuit(vpn, target)
                    assert self.passes(*ends, version, tries=120), f"{ends[0]} -> {ends[1]}"  # noqa: S101


def _number(requirement: str) -> tuple[str, int]:
    """``LBL-2`` and ``LBL-02`` are the same."""
    area, _, number = requirement.partition("-")
    return area, int(number or 0)


@contextlib.contextmanager
def watching(*ports: Port) -> Iterator[list[Tap]]:
    """Taps for the length of a block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(port.tap()) for port in ports]


def ready(net: Net) -> None:
    """Wait until both nodes speak to each other and the VPNs reach across. AssertionError else."""
    for client in (net.pe1, net.pe2):
        assert until(partial(_speaks, client), PATIENCE, every=0.5), "no session in the core"  # noqa: S101
    net.warm()


def _speaks(client: Client) -> bool:
    try:
        sessions = client.show_neighbors(core_only=True)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:  # started anew, on its former socket
            return False
        raise
    return any(n.state == n.SESSION_STATE_ESTABLISHED for n in sessions)
