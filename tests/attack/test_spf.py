"""SPF: a packet comes from where its source says, or not at all (RFC 4381 3.4, RFC 3704, 8704)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from labs.attack import ip, link, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Circuit, Net, circuit
from labs.attack.port import Port, token
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.trial import COPIES, Attack, Frames, arrives, control, held

RED, BLUE, NEAR = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
TRUNK, TRUNK_PE = Port("trunk", "eth0"), Port("pe1", "trunk0")
LAN, LAN_PE = Port("lan-a", "eth0"), Port("pe1", "br-red")
INTERNET, INTERNET_PE = Port("internet", "eth0"), Port("pe1", "inet")


def claiming(source: str, target: str, sender: Port, receiver: Port, *tags: int) -> Frames:
    """Return a packet that says it comes from ``source``."""

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(source, target, PROBE_PORT, mark)
        kind = link.ethertype(packet)
        return [link.ethernet(receiver.mac, sender.mac, kind, packet, tags)]

    return frames


# Source, and whether a kernel without the guard would let it through.
STRANGERS = {
    "blue-only": ("10.5.0.9", True),
    "blue-only-6": ("2001:db8:5::9", True),
    "pe-loopback": ("10.255.0.1", True),
    "pe-loopback-6": ("2001:db8:ff::1", True),
    "other-pe": ("10.255.0.2", True),
    "p": ("10.255.0.100", True),
    "core-link": ("10.0.1.1", True),
    "core-link-6": ("2001:db8:c1::1", True),
    "pe-port": ("192.168.1.1", False),
    "pe-port-6": ("2001:db8:f1::1", True),
    "other-pe-port": ("192.168.3.1", False),
    "this-network": ("0.1.2.3", False),
    "loopback": ("127.0.0.1", False),
    "loopback-6": ("::1", False),
    "mapped-6": ("::ffff:10.1.0.1", False),  # P's or the other PE's kernel would drop it
    "multicast": ("224.0.0.5", False),
    "multicast-6": ("ff02::5", False),
    "reserved": ("240.0.0.1", False),
    "broadcast": ("255.255.255.255", False),
}


@pytest.mark.parametrize(("source", "passes"), STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("target", [NEAR, circuit("red", 2)], ids=["same-pe", "remote"])
def test_spf_01_sources_that_no_site_has(
    net: Net, source: str, passes: bool, target: Circuit
) -> None:
    address = plan.lan(target.site, ip.version(source))
    frames = claiming(source, address, RED.ce, RED.pe)
    attack = Attack(RED.ce, frames, target.ce, RED, "ce-red-1", bystanders=(BLUE.ce,))
    if passes:
        control(net, attack, [Guard.EDGE])
    held(net, attack)


@pytest.mark.parametrize("source", ["10.255.0.1", "2001:db8:ff::1", "127.0.0.1", "::1",
                                    "203.0.113.1", "0.0.0.1", "10.0.1.1"])  # fmt: skip
def test_spf_01_on_a_port_that_takes_any_source(net: Net, source: str) -> None:
    """``source-prefixes: any`` is for the Internet: martians and the node's own stay out."""
    target = "2001:db8:99::1" if ":" in source else "198.51.100.1"
    frames = claiming(source, target, INTERNET, INTERNET_PE)
    held(net, Attack(INTERNET, frames, INTERNET, RED, "inet"))


LINKS = {
    "no-route": ("10.77.0.9", "2001:db8:77::9"),
    "other-port": ("10.3.0.9", "2001:db8:3::9"),
    "remote-site": ("10.2.0.9", "2001:db8:2::9"),
    "near-miss": ("10.0.255.255", "2001:db8:0:ffff::1"),
}
ATTACHMENTS = {
    "untagged": (RED.ce, RED.pe, (), "ce-red-1"),
    "vlan": (TRUNK, TRUNK_PE, (10,), "red-v10"),
    "bridge": (LAN, LAN_PE, (), "br-red"),
}


@pytest.mark.parametrize("sources", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("at", ATTACHMENTS.values(), ids=ATTACHMENTS)
def test_spf_02_sources_of_other_ports(
    net: Net,
    sources: tuple[str, str],
    version: int,
    at: tuple[Port, Port, tuple[int, ...], str],
) -> None:
    sender, receiver, tags, name = at
    source = sources[0] if version == 4 else sources[1]
    frames = claiming(source, plan.lan(2, version), sender, receiver, *tags)
    attack = Attack(sender, frames, circuit("red", 2).ce, RED, name)
    control(net, attack, [Guard.EDGE])
    held(net, attack)


@pytest.mark.parametrize("version", [4, 6])
def test_spf_02_the_sites_own_sources_pass(net: Net, version: int) -> None:
    """Its LAN, its end of the link, and what it may announce over BGP."""
    own = {4: ("10.1.0.77", "192.168.1.2", "10.101.3.3"),
           6: ("2001:db8:1::77", "2001:db8:f1::2", "2001:db8:101::3")}[version]  # fmt: skip
    target = circuit("red", 2).ce
    for source in own:
        frames = claiming(source, plan.lan(2, version), RED.ce, RED.pe)
        assert arrives(net, Attack(RED.ce, frames, target, RED)), source


@contextlib.contextmanager
def policy(*rules: str) -> Iterator[None]:
    """A policy of addresses beside the node's own rules, as microsegmentation would have it."""
    text = "".join(f"add rule inet lab_policy forwarded {rule}\n" for rule in rules)
    hook = "{ type filter hook forward priority 5; policy accept; }"
    head = f"add table inet lab_policy\nadd chain inet lab_policy forwarded {hook}\n"
    run_in("pe1", "nft", "-f", "-", stdin=head + text)
    try:
        yield
    finally:
        run_in("pe1", "nft", "delete", "table", "inet", "lab_policy")


@pytest.mark.parametrize("version", [4, 6])
def test_spf_03_the_address_of_an_allowed_group(net: Net, version: int) -> None:
    """A policy that goes by source address cannot be talked into by forging one."""
    target = NEAR
    friend = "10.4.0.0/24" if version == 4 else "2001:db8:4::/64"
    member = "10.4.0.7" if version == 4 else "2001:db8:4::7"
    field = "ip" if version == 4 else "ip6"
    rule = f"udp dport {PROBE_PORT} {field} daddr {plan.lan(3, version)} {field} saddr != {friend}"
    with policy(f"{rule} drop"):
        honest = claiming(plan.lan(1, version), plan.lan(3, version), RED.ce, RED.pe)
        assert not arrives(net, Attack(RED.ce, honest, target.ce, RED)), "the policy holds"
        forged = claiming(member, plan.lan(3, version), RED.ce, RED.pe)
        attack = Attack(RED.ce, forged, target.ce, RED, "ce-red-1")
        control(net, attack, [Guard.EDGE])
        held(net, attack)


def neighbour(node: str, address: str, port: str) -> str:
    """Return the MAC that a node holds for an address."""
    words = run_in(node, "ip", "neigh", "show", address, "dev", port).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


@pytest.mark.parametrize("operation", [1, 2], ids=["request", "answer"])
def test_spf_04_arp_for_the_gateway(net: Net, operation: int) -> None:
    """Gratuitous ARP for the PE's own address, and for an address off the link."""
    before = net.dropped("br-red", "SPF-4")
    for claimed in ("192.168.6.1", "192.168.1.1", "10.255.0.1", "10.3.0.1"):
        packet = link.arp(operation, LAN.mac, claimed, claimed, link.BROADCAST)
        LAN.send(link.ethernet(link.BROADCAST, LAN.mac, link.ARP, packet))
    net.sentinel(RED)
    assert until(lambda: net.dropped("br-red", "SPF-4") == before + 4, 2.0)
    assert "lladdr" not in run_in("pe1", "ip", "neigh", "show", "192.168.6.1")


def test_spf_04_an_honest_neighbour_is_found(net: Net) -> None:
    packet = link.arp(1, LAN.mac, "192.168.6.2", "192.168.6.1")
    with LAN.tap() as tap:
        LAN.send(link.ethernet(link.BROADCAST, LAN.mac, link.ARP, packet))
        assert until(lambda: link.arp_answers(tap.frames(), "192.168.6.1") == 1, 2.0)


CORE = Port("pe1", "core0")


def under_a_label(net: Net, source: str, target: str) -> Frames:
    """Return what a remote PE passes on to red at pe1."""
    label = net.label("red")

    def frames(mark: bytes) -> list[bytes]:
        inner = link.labelled([label], ip.udp(source, target, PROBE_PORT, mark))
        return [link.ethernet(CORE.mac, net.p.mac, link.MPLS, inner)]

    return frames


def kept_from_ce(net: Net, frames: Frames, guard: Guard, requirement: str) -> None:
    """Without the guard they arrive at red's CE; with it none does, and each is counted."""
    mark = token()
    with Switch(net).off(guard), RED.ce.tap() as tap:
        net.p.send(*frames(mark))
        assert tap.wait(mark, 3.0), "control"
    before, mark = net.dropped(requirement=requirement), token()
    with RED.ce.tap() as tap:
        for _ in range(COPIES):
            net.p.send(*frames(mark))
        assert net.passes(circuit("red", 2), RED), "sentinel, the same way"
        assert tap.count(mark) == 0
    assert until(lambda: net.dropped(requirement=requirement) - before == COPIES, 2.0)


def test_spf_05_no_directed_broadcast(net: Net) -> None:
    """A remote site sends to the broadcast address of a CE's link (RFC 2644)."""
    frames = under_a_label(net, plan.lan(2, 4), "192.168.1.3")
    kept_from_ce(net, frames, Guard.EGRESS, "SPF-5")


@pytest.mark.parametrize("version", [4, 6])
def test_spf_06_the_pes_own_address_under_a_label(net: Net, version: int) -> None:
    """What the PE says itself no policy judges: so no remote site can say it in its name."""
    frames = under_a_label(net, plan.gateway(1, version), plan.lan(1, version))
    kept_from_ce(net, frames, Guard.OWN_SOURCE, "SPF-6")
