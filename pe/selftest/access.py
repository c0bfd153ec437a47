"""Test ACL, CPP, BGP, FAIL: access to the PE, and its rate limits (RFC 4381 3.3, RFC 6192)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pe.selftest import frame as fr
from pe.selftest import packet as pk
from pe.selftest.bench import Mark
from pe.selftest.frame import Frame
from pe.selftest.maker import Maker, counter
from pe.selftest.packet import Form
from pe.selftest.sources import arp_control, asks, is_at
from pe.selftest.trial import Attack, Control, Frames, Trial
from pe.selftest.world import B1, BLUE, NEW, R1, R2, RED, STATIONS, VERSIONS, ce, gateway, host

SCTP, ESP = 132, 50
TUNNELS = {"IP in IP": 4, "IPv6 in IP": 41, "GRE": 47, "MPLS in IP": 137}
TUNNEL_PORTS = (4789, 6635, 3799)
FLOOD = 300
NEAR = Form(ttl=255)
"""On the link itself (RFC 5082)."""
OTHER_KINDS = {
    "LLDP": 0x88CC, "EAPOL": 0x888E, "PPPoE": 0x8863, "an experimental ethertype": 0x88B5,
}  # fmt: skip
LINK_GROUP = "ff02::1"


def trials(make: Maker) -> Iterator[Trial]:
    """Yield all but floods: those come last."""
    for version in VERSIONS:
        yield from _to_the_pe(make, version)
        yield from _session(make, version)
        yield _fragments(make, version)
        yield _stranger(make, version)
    yield _stranger_asks(make)
    yield from _other_kinds(make)
    yield from _for_many(make)


def _refused(
    make: Maker, requirement: str, sent: str, version: int, frames: Frames, *,
    origin: str = R1, vrf: str = "",
) -> Attack:  # fmt: skip
    """Send packets that the input filter drops, while it accepts red's session. Drops from the
    neighbour's own address are counted for the node, all others for the VRF."""
    return Attack(
        requirement=requirement, sent=sent, family=version, origin=origin, frames=frames,
        control=make.session_control(version), counter=counter("acl_01", vrf), table="inet",
    )  # fmt: skip


def _all_sorts(source: str, target: str, mark: Mark) -> list[bytes]:
    """Return a service of each protocol, from as near as a neighbour is."""
    return [
        pk.syn(source, target, 22, mark.port, NEAR),
        pk.syn(source, target, 443, mark.port, NEAR),
        pk.udp(source, target, 161, mark.token, NEAR),
        pk.echo(source, target, mark.token, NEAR),
        pk.packet(source, target, SCTP, mark.token, NEAR),
        pk.packet(source, target, ESP, mark.token, NEAR),
    ]


def _to_the_pe(make: Maker, version: int) -> Iterator[Attack]:
    ours, site = (ce(1, version), gateway(1, version)), host(1, version)

    def sorts(mark: Mark) -> list[bytes]:
        return [make.frame(R1, packet) for packet in _all_sorts(*ours, mark)]

    def elsewhere(mark: Mark) -> list[bytes]:
        packets = (pk.syn(ours[0], gateway(2, version), 179, mark.port, NEAR),
                   pk.syn(site, ours[1], 179, mark.port, NEAR))  # fmt: skip
        return [make.frame(R1, packet) for packet in packets]

    def static(mark: Mark) -> list[bytes]:
        packets = [*_all_sorts(*ours, mark), pk.syn(*ours, 179, mark.port, NEAR)]
        return [make.frame(B1, packet) for packet in packets]

    def tunnels(mark: Mark) -> list[bytes]:
        inner = make.between(mark, version)
        packets = [pk.packet(*ours, number, inner, NEAR) for number in TUNNELS.values()]
        packets += [pk.udp(*ours, port, inner, NEAR) for port in TUNNEL_PORTS]
        return [make.frame(R1, packet) for packet in packets]

    yield _refused(make, "ACL-1", "SSH, HTTPS, SNMP, ping, SCTP, ESP to the PE", version, sorts)
    yield _refused(make, "ACL-1", "BGP to another of its addresses, and from another host",
                   version, elsewhere, vrf=RED)  # fmt: skip
    yield _refused(make, "ACL-2", "all that and BGP, from a static CE", version, static,
                   origin=B1, vrf=BLUE)  # fmt: skip
    yield _refused(make, "ACL-4", "tunnels to the PE", version, tunnels)


def _session(make: Maker, version: int) -> Iterator[Attack]:
    yield Attack(
        requirement="BGP-3", sent="BGP of the neighbour with TTL 254", family=version, origin=R1,
        frames=make.session(version, 254), control=make.session_control(version),
        counter=counter("bgp_03"), table="inet",
    )  # fmt: skip

    def unknown(mark: Mark) -> list[bytes]:
        ends = ce(2, version), gateway(2, version)
        return [make.frame(R2, pk.syn(*ends, 179, mark.port, NEAR))]

    yield _refused(make, "BGP-10", "BGP of a CE that is no neighbour", version, unknown, origin=R2,
                   vrf=RED)  # fmt: skip


def _in_pieces(
    make: Maker, source: str, target: str, mark: Mark, forms: tuple[int, int]
) -> list[bytes]:
    """Return a datagram in two fragments."""
    whole = pk.udp(source, target, 9, mark.token.ljust(24 + 16))
    start = 40 if ":" in source else 20
    body = whole[start:]
    pieces = zip((body[:24], body[24:]), forms, strict=True)
    return [
        make.frame(R1, pk.packet(source, target, pk.UDP, piece, Form(fragment=fragment)))
        for piece, fragment in pieces
    ]


def _fragments(make: Maker, version: int) -> Attack:
    # More fragments, then offset 3 (eight-byte units): RFC 791, and RFC 8200 section 4.5.
    forms = (0x2000, 3) if version == 4 else (1, 3 << 3)

    def to_the_pe(mark: Mark) -> list[bytes]:
        return _in_pieces(make, ce(1, version), gateway(1, version), mark, forms)

    def across(mark: Mark) -> list[bytes]:
        return _in_pieces(make, host(1, version), host(2, version), mark, forms)

    return Attack(
        requirement="CPP-2", sent="fragments to the PE", family=version, origin=R1,
        frames=to_the_pe, control=Control(R1, across, R2), counter=counter("cpp_02", R1),
    )  # fmt: skip


def _stranger(make: Maker, version: int) -> Attack:
    """Send from an unconfigured port, which is in the core's table as every new one (trap T16)."""
    around = make.around
    targets = [a for a in (*around.loopbacks, *around.peers) if (":" in a) == (version == 6)]

    def frames(mark: Mark) -> list[bytes]:
        source = host(7, version)
        packets = [pk.echo(source, target, mark.token) for target in targets or [host(1, version)]]
        return [make.frame(NEW, packet) for packet in packets]

    return Attack(
        requirement="FAIL-1", sent="packets to the core from an unconfigured port",
        family=version, origin=NEW, frames=frames, control=make.site_to_site(version),
        counter=counter("fail_01"), table="inet",
    )  # fmt: skip


def _stranger_asks(make: Maker) -> Attack:
    asked = make.around.loopbacks[0]
    frames = [asks(make, host(7, 4), asked, NEW)]
    return Attack(
        requirement="FAIL-1", sent="ARP for the loopback on an unconfigured port", family=4,
        origin=NEW, frames=lambda _mark: frames, control=arp_control(make),
        counter=counter("fail_01"), table="arp", answers=is_at(asked),
    )  # fmt: skip


def _other_kinds(make: Maker) -> Iterator[Attack]:
    def attack(sent: str, frames: Frames) -> Attack:
        return Attack(requirement="ACL-3", sent=sent, origin=R1, frames=frames,
                      control=make.site_to_site(4), counter=counter("lbl_06", R1))  # fmt: skip

    def of(kind: int) -> Frames:
        return lambda mark: [make.raw(R1, kind, mark.token.ljust(46))]

    for name, kind in OTHER_KINDS.items():
        yield attack(name, of(kind))
    tags = ((fr.VLAN, 0),)
    yield attack("an IP packet, priority tag", lambda m: [
        make.raw(R1, fr.IPV4, make.between(m, 4), tags)])  # fmt: skip
    yield attack("an IP packet, QinQ", lambda m: [
        make.raw(R1, fr.IPV4, make.between(m, 4), ((fr.SERVICE_VLAN, 5), (fr.VLAN, VLAN_INSIDE)))
    ])  # fmt: skip
    bridge = bytes.fromhex("0180c2000000")
    yield attack("spanning tree", lambda m: [
        make.raw(R1, 38, b"\x42\x42\x03" + m.token.ljust(43), target=bridge)])  # fmt: skip


VLAN_INSIDE = 6


def _for_many(make: Maker) -> Iterator[Attack]:
    """Send packets for all routers: routing protocols, router discovery, redirects."""

    def attack(sent: str, version: int, frames: Frames, control: Control) -> Attack:
        return Attack(requirement="ACL-6", sent=sent, family=version, origin=R1, frames=frames,
                      control=control, counter=counter("acl_06", R1))  # fmt: skip

    def discovery(kind: int, rest: bytes) -> Frames:
        own = link_local(R1)
        packet = pk.icmp6(own, LINK_GROUP, kind, rest, NEAR)
        frame = make.raw(R1, fr.IPV6, packet, target=b"\x33\x33\0\0\0\1")
        return lambda _mark: [frame]

    found = solicitation_control(make)
    yield attack("router advertisement", 6, discovery(134, bytes(12)), found)
    yield attack("router solicitation", 6, discovery(133, bytes(4)), found)
    yield attack("redirect", 6, discovery(137, bytes(36)), found)
    for version, group in ((4, "224.0.0.5"), (6, "ff02::5")):

        def ospf(mark: Mark, version: int = version, group: str = group) -> list[bytes]:
            source = ce(1, 4) if version == 4 else link_local(R1)
            return [make.frame(R1, pk.packet(source, group, 89, mark.token))]

        yield attack("OSPF", version, ospf, make.site_to_site(version))


def link_local(station: str) -> str:
    """Return a station's link-local address."""
    return f"fe80::{STATIONS[station].number}"


def solicitation_control(make: Maker) -> Control:
    """Return an honest neighbour solicitation, answered."""
    target, packet = fr.solicitation(STATIONS[R1].mac, ce(1, 6), gateway(1, 6))
    frame = make.raw(R1, fr.IPV6, packet, target=target)
    return Control(R1, lambda _mark: [frame], R1, is_advertised(gateway(1, 6)))


def is_advertised(address: str) -> Callable[[Frame], bool]:
    """Return a predicate: True for a neighbour advertisement of an address."""
    return lambda seen: fr.discovery_target(seen, fr.ADVERTISEMENT) == address


def floods(make: Maker) -> Iterator[Attack]:
    """Test CPP-1: only the flooding port's packets are dropped; requests of another port are
    answered. The floods use up the rate limit of red's second port, so they come last."""

    def pings(version: int) -> Frames:
        ends = ce(2, version), gateway(2, version)
        return lambda mark: [make.frame(R2, pk.echo(*ends, mark.token))] * FLOOD

    def attack(
        sent: str, traffic: str, version: int, frames: Frames, control: Control
    ) -> Attack:  # fmt: skip
        return Attack(
            requirement="CPP-1", sent=f"{FLOOD} {sent} at once", family=version, origin=R2,
            frames=frames, control=control, counter=counter(f"cpp_01.{traffic}", R2), copies=1,
            least=FLOOD // 4,
        )  # fmt: skip

    yield attack("pings to the PE", "other", 4, pings(4), arp_control(make))
    yield attack("pings to the PE", "other", 6, pings(6), solicitation_control(make))
    question = framed_question(make)
    yield attack("ARP questions", "arp", 4, lambda _mark: [question] * FLOOD, arp_control(make))
    target, packet = fr.solicitation(STATIONS[R2].mac, ce(2, 6), gateway(2, 6))
    tags = ((fr.VLAN, STATIONS[R2].vid),)
    solicited = make.raw(R2, fr.IPV6, packet, tags, target)
    yield attack("neighbour solicitations", "nd", 6, lambda _mark: [solicited] * FLOOD,
                 solicitation_control(make))  # fmt: skip


def framed_question(make: Maker) -> bytes:
    """Return an honest ARP question of red's second site, under its tag."""
    packet = fr.arp(1, STATIONS[R2].mac, ce(2, 4), gateway(2, 4))
    tags = ((fr.VLAN, STATIONS[R2].vid),)
    return make.raw(R2, fr.ARP, packet, tags, fr.BROADCAST)
