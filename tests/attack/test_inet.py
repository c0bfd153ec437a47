"""INET: the Internet is one more VPN, and the least trusted (RFC 4364 section 11)."""

from __future__ import annotations

import pytest

from labs.attack import ip, link, plan
from labs.attack.net import PROBE_PORT, Net, circuit, watching
from labs.attack.port import Port, token
from labs.attack.spoof import spoofed
from labs.attack.switch import Switch
from pe.model.guards import Guard
from tests.attack.trial import Attack, Frames, control, held

INTERNET, PE = Port("internet", "eth0"), Port("pe1", "inet")
RED, BLUE = circuit("red", 1), circuit("blue", 1)
EVERYBODY = tuple(circuit(vpn, site).ce for vpn in ("red", "blue") for site in (1, 2, 3))
HOST = {4: "198.51.100.1", 6: "2001:db8:99::1"}

TARGETS = {
    "site-same-pe": ("10.1.0.1", "2001:db8:1::1"),
    "site-remote": ("10.2.0.1", "2001:db8:2::1"),
    "ce-link": ("192.168.1.2", "2001:db8:f1::2"),
    "pe-on-ce-link": ("192.168.1.1", "2001:db8:f1::1"),
    "p": ("10.255.0.100", "2001:db8:c1::2"),
    "pe2": ("10.255.0.2", "2001:db8:ff::2"),
    "core-link": ("10.0.1.2", "2001:db8:c2::1"),
}


def from_internet(target: str) -> Frames:
    """Return a packet of a host out there."""

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(HOST[ip.version(target)], target, PROBE_PORT, mark)
        return [link.ethernet(PE.mac, INTERNET.mac, link.ethertype(packet), packet)]

    return frames


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_inet_01_no_way_into_vpns_or_the_core(
    net: Net, targets: tuple[str, str], version: int
) -> None:
    """There is no route from the Internet's VRF to anything but the Internet."""
    target = targets[version == 6]
    mark = token()
    with watching(net.p, *EVERYBODY) as eyes:
        for _ in range(5):
            INTERNET.send(*from_internet(target)(mark))
        net.sentinel(RED)
        assert [eye.count(mark) for eye in eyes] == [0] * len(eyes)


@pytest.mark.parametrize("target", ["10.255.0.1", "2001:db8:ff::1"])
def test_inet_01_control_the_core_would_receive(net: Net, target: str) -> None:
    """Its default route leads back out: what keeps it from the core is the table, and T2."""
    with Switch(net).off(Guard.LOCAL_RULE, Guard.INPUT), INTERNET.tap() as tap:
        mark = token()
        packet = ip.echo(HOST[ip.version(target)], target, mark)
        INTERNET.send(link.ethernet(PE.mac, INTERNET.mac, link.ethertype(packet), packet))
        net.sentinel(RED)
        if ip.version(target) == 4:
            assert any(mark in f and f[34] == 0 for f in tap.frames()), "control: it answers"


@pytest.mark.parametrize("version", [4, 6])
def test_inet_01_vpns_have_no_way_out(net: Net, version: int) -> None:
    """Try the Internet from red's and blue's CEs: no route target gives them access."""
    mark = token()
    with INTERNET.tap() as tap:
        for at in (RED, BLUE):
            at.ce.send(at.frame(ip.udp(plan.lan(1, version), HOST[version], PROBE_PORT, mark)))
        net.sentinel(RED)
        assert tap.count(mark) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_inet_03_a_replayed_flow_of_a_vpn(net: Net, version: int) -> None:
    """The Internet sends the answer to a flow that red has: there is no state that lets it in."""
    source, target = plan.lan(1, version), plan.lan(2, version)
    with watching(*EVERYBODY) as eyes:
        RED.ce.send(RED.frame(ip.udp(source, target, 5353, token(), sport=5354)))
        mark = token()
        forged = ip.udp(target, source, 5354, mark, sport=5353)
        INTERNET.send(link.ethernet(PE.mac, INTERNET.mac, link.ethertype(forged), forged))
        net.sentinel(RED)
        assert [eye.count(mark) for eye in eyes] == [0] * len(eyes)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tags", [(), (0,)], ids=["untagged", "vid0"])
def test_inet_04_labelled_packets(net: Net, version: int, tags: tuple[int, ...]) -> None:
    frames = spoofed(INTERNET, PE.mac, [net.label("blue")], version, tags=tags)
    attack = Attack(INTERNET, frames, BLUE.ce, RED, "inet")
    control(net, attack, [Guard.EDGE, Guard.LABEL_INPUT])
    held(net, attack)


STRANGE = ("127.0.0.1", "0.0.0.1", "224.1.1.1", "10.255.0.1", "10.0.1.1", "::1",
           "2001:db8:ff::1", "2001:db8:c1::1", "ff02::1")  # fmt: skip


@pytest.mark.parametrize("source", STRANGE)
def test_inet_04_martians_and_the_providers_own(net: Net, source: str) -> None:
    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(source, HOST[ip.version(source)], PROBE_PORT, mark)
        return [link.ethernet(PE.mac, INTERNET.mac, link.ethertype(packet), packet)]

    held(net, Attack(INTERNET, frames, INTERNET, RED, "inet"))


def test_inet_04_options(net: Net) -> None:
    def frames(mark: bytes) -> list[bytes]:
        header = ip.Header(options=bytes([7, 7, 4, 0, 0, 0, 0]))
        packet = ip.udp(HOST[4], "198.51.100.9", PROBE_PORT, mark, header)
        return [link.ethernet(PE.mac, INTERNET.mac, link.IPV4, packet)]

    held(net, Attack(INTERNET, frames, INTERNET, RED, "inet", "HIDE-4"))
