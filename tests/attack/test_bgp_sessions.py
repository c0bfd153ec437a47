"""BGP-1, 2, 3, 10: who may speak to the PE, and how he has to begin."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

import grpc
import pytest

from labs.attack import bgp, ip, plan
from labs.attack.edit import edited
from labs.attack.inside import run_in
from labs.attack.net import Net, circuit
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.speech import (
    FAMILIES,
    SECONDS,
    announce,
    both,
    connection,
    done,
    has,
    learned,
    log_tail,
    taken,
    to_pe,
)

RED, BLUE, STATIC = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
AS = plan.CE_AS["red"]
BGP = (179).to_bytes(2)
KEYS = {"none": "", "wrong": "wrong", "blues": plan.KEYS["blue"]}


# -- BGP-1: keys ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_bgp_01_no_session_without_the_key(net: Net, version: int, key: str) -> None:
    """No SYN-ACK without the signature, nor with another VPN's, whose CE has the same address."""
    near, own = plan.gateway(1, version), plan.ce(1, version)
    with RED.ce.tap() as tap:
        assert bgp.connect("ce-red-1", own, near, md5=key, seconds=2.0) is None
        net.sentinel(RED, version=version)
        assert not any(flags & ip.SYN for flags in answers(tap.frames(), near))
    with RED.ce.tap() as tap:  # control: with the key the PE answers
        connection("red", version).close()
        assert any(flags & ip.SYN for flags in answers(tap.frames(), near))


def answers(frames: list[bytes], source: str) -> list[int]:
    """Return the TCP flags of segments from port 179 of an address."""
    found = []
    packed = ipaddress.ip_address(source).packed
    for frame in frames:
        start = 14 + (40 if len(packed) == 16 else 20)
        at = (26, 30) if len(packed) == 4 else (22, 38)
        proto = frame[23] if len(packed) == 4 else frame[20]
        if frame[at[0] : at[1]] == packed and proto == ip.TCP:
            port = int.from_bytes(frame[start : start + 2])
            found += [frame[start + 13]] if port == 179 else []
    return found


def awaited(frames: list[bytes], version: int) -> int:
    """Return the sequence number that pe1 waits for, as its last segment says."""
    packed = ipaddress.ip_address(plan.gateway(1, version)).packed
    at, start = (26, 34) if version == 4 else (22, 54)
    ours = [f for f in frames if f[at : at + len(packed)] == packed and f[start : start + 2] == BGP]
    return int.from_bytes(ours[-1][start + 8 : start + 12])


def forged(session: bgp.Session, version: int, flags: int, numbers: Iterable[int]) -> list[bytes]:
    """Segments in the session's name, without its signature."""
    sport, header = session.connection.getsockname()[1], ip.Header(ttl=255)
    ends = plan.ce(1, version), plan.gateway(1, version)
    return [
        RED.frame(ip.tcp(*ends, 179, flags, header, sport=sport, seq=number)) for number in numbers
    ]


@both
def test_bgp_01_forged_segments_do_not_end_it(net: Net, version: int) -> None:
    """RST, SYN and FIN without the signature, all over the window and at the very number that is
    waited for: the session stays."""
    with RED.ce.tap() as tap, to_pe("red", version) as session:
        done(net, session, "red", version)
        for flags in (ip.RST, ip.RST | ip.ACK, ip.SYN, ip.FIN | ip.ACK):
            numbers = [*range(0, 1 << 32, 1 << 23), awaited(tap.frames(), version)]
            RED.ce.flood(forged(session, version, flags, numbers))
        net.sentinel(RED, version=version)
        done(net, session, "red", version)
        assert session.alive


@both
def test_bgp_01_control_a_forged_reset_ends_an_unsigned_session(net: Net, version: int) -> None:
    """The same reset against a session without a key: that one dies of it."""
    mark = f'      "{plan.ce(1, version)}":\n        asn: {AS}\n'
    key = f"        md5: {plan.KEYS['red']}\n"
    with edited(net, lambda text: text.replace(mark + key, mark, 1)), RED.ce.tap() as tap:
        ends = plan.ce(1, version), plan.gateway(1, version)
        greeting = bgp.Greeting(AS, families=(FAMILIES[version],))
        with bgp.establish("ce-red-1", *ends, greeting, seconds=SECONDS) as session:
            done(net, session, "red", version)
            down = "session_down peer=" + plan.ce(1, version)

            def ended() -> bool:
                # The number moves on with every message of the session: aim again.
                RED.ce.send(*forged(session, version, ip.RST, [awaited(tap.frames(), version)]))
                return down in log_tail(net, 3000).rpartition("session_up")[2]

            assert until(ended, SECONDS, every=0.5), log_tail(net, 3000)


# -- BGP-2: TCP-AO --------------------------------------------------------------------------------


def test_bgp_02_tcp_ao_is_refused_and_says_so(net: Net) -> None:
    """RFC 5925 is preferred where it can be had; ExaBGP 5.0 has none. A wish for it is not
    silently something weaker: the configuration is refused, and what was in force stays."""

    def with_ao(text: str) -> str:
        return text.replace("        hold-time: 600\n", "        tcp-ao: some-key\n", 1)

    with to_pe() as session:
        with pytest.raises(grpc.RpcError) as refused, edited(net, with_ao):
            pass
        assert "TCP-AO" in str(refused.value)
        assert "md5" in str(refused.value)
        taken(net, session, "10.101.3.0/24")
        assert session.alive


# -- BGP-3: GTSM ----------------------------------------------------------------------------------


@both
def test_bgp_03_from_further_away(net: Net, version: int) -> None:
    """Drop segments from more than one hop away, signed or not (GTSM, RFC 5082)."""
    near, own = plan.gateway(1, version), plan.ce(1, version)
    for ttl in (1, 64, 254):
        key = plan.KEYS["red"]
        far = bgp.connect("ce-red-1", own, near, md5=key, ttl=ttl, seconds=1.0)
        assert far is None
    with to_pe("red", version) as session:
        before = net.dropped("", "BGP-3")
        sport = session.connection.getsockname()[1]
        for flags in (ip.RST, ip.SYN, ip.ACK):
            header = ip.Header(ttl=254)
            RED.ce.send(RED.frame(ip.tcp(own, near, 179, flags, header, sport=sport)))
        net.sentinel(RED, version=version)
        assert until(lambda: net.dropped("", "BGP-3") >= before + 3, 5.0)
        done(net, session, "red", version)
        assert session.alive


@both
def test_bgp_03_control_without_the_guard(net: Net, version: int) -> None:
    """A SYN from afar gets as far as the socket, which then has to know better."""
    ends = plan.ce(1, version), plan.gateway(1, version)
    frame = RED.frame(ip.tcp(*ends, 179, ip.SYN, ip.Header(ttl=64), sport=5))
    with Switch(net).off(Guard.INPUT):
        before = unsigned_segments()
        RED.ce.send(frame)
        net.sentinel(RED, version=version)
        assert unsigned_segments() == before + 1, "control"
    before = unsigned_segments()
    RED.ce.send(frame)
    net.sentinel(RED, version=version)
    assert unsigned_segments() == before


def unsigned_segments() -> int:
    """Segments that came to a socket of pe1 without the signature that it wants."""
    return int(run_in("pe1", "nstat", "-asz", "TcpExtTCPMD5NotFound").split()[-2])


@both
def test_bgp_03_we_send_255(net: Net, version: int) -> None:
    """What the PE says itself leaves with 255 hops, so that the CE can check as well."""
    near = ipaddress.ip_address(plan.gateway(1, version)).packed
    with RED.ce.tap() as tap, to_pe("red", version):
        frames = tap.frames()
    if version == 4:
        hops = {f[22] for f in frames if f[26:30] == near and f[23] == ip.TCP}
    else:
        hops = {f[21] for f in frames if f[22:38] == near and f[20] == ip.TCP}
    assert hops == {255}


# -- BGP-10: who, and how -------------------------------------------------------------------------


@both
def test_bgp_10_an_unknown_peer_gets_no_answer(net: Net, version: int) -> None:
    """ce-red-3 is no neighbour: no SYN-ACK, no RST, no OPEN; with the guard off it gets one of
    them, and still no OPEN."""
    near, own = plan.gateway(3, version), plan.ce(3, version)
    with STATIC.ce.tap() as tap:
        for key in ("", plan.KEYS["red"]):
            assert bgp.connect("ce-red-3", own, near, md5=key, seconds=1.0) is None
        net.sentinel(STATIC, version=version)
        assert answers(tap.frames(), near) == []
    with Switch(net).off(Guard.INPUT), STATIC.ce.tap() as tap:
        session = bgp.connect("ce-red-3", own, near, seconds=3.0)
        assert answers(tap.frames(), near), "control: the host answers where no guard is"
        if session is not None:
            session.listen(2.0)
            assert session.bodies(bgp.OPEN) == []


GREETINGS = {
    "wrong-as": (bgp.Greeting(65999), (2, 2)),
    "our-as": (bgp.Greeting(plan.CORE_AS), (2, 2)),
    "version-3": (bgp.Greeting(AS, version=3), (2, 1)),
    "router-id-0": (bgp.Greeting(AS, router_id="0.0.0.0"), (2, 3)),
    "hold-1": (bgp.Greeting(AS, hold_time=1), (2, 6)),
    "hold-2": (bgp.Greeting(AS, hold_time=2), (2, 6)),
}


@pytest.mark.parametrize(("greeting", "wanted"), GREETINGS.values(), ids=GREETINGS)
@both
def test_bgp_10_openings_that_are_refused(
    net: Net, version: int, greeting: bgp.Greeting, wanted: tuple[int, int]
) -> None:
    """Each with its own NOTIFICATION (RFC 4271 section 6.2); the right one is taken after it."""
    with connection("red", version) as session:
        session.send(greeting.packed())
        assert session.ended(SECONDS) == wanted
    with to_pe("red", version, hold_time=3) as session:
        assert session.alive, "control: the least hold time there is"


def cut(message: bytes, octets: int) -> bytes:
    """Return a message whose optional parameters are longer than it is."""
    return message[:-octets]


NOISE = {
    "bad-marker": b"\0" * 16 + struct.pack("!HB", 19, 4),
    "length-18": bgp.MARKER + struct.pack("!HB", 18, 4),
    "length-5000": bgp.MARKER + struct.pack("!HB", 5000, 2) + bytes(4981),
    "type-9": bgp.message(9),
    "update-first": bgp.update(),
    "open-of-nothing": bgp.message(bgp.OPEN),
    "open-cut": bgp.message(bgp.OPEN, bgp.Greeting(AS).packed()[19:-3]),
    "open-with-endless-capability": bgp.Greeting(AS, extra=b"\x41\xff").packed(),
    "http": b"GET / HTTP/1.1\r\nHost: pe\r\n\r\n",
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_bgp_10_noise_instead_of_an_opening(net: Net, noise: bytes) -> None:
    """Lose the connection and nothing else: a valid session comes up after it, its routes are
    received, and blue's session stays up."""
    blue = to_pe("blue")
    with blue:
        with connection() as session:
            session.send(noise)
            session.listen(SECONDS)
            assert session.closed or session.notification, "the connection is ended"
        with to_pe() as good:
            taken(net, good, "10.101.4.0/24")
        assert blue.alive
        done(net, blue, "blue")


@both
def test_bgp_10_a_family_that_is_not_configured(net: Net, version: int) -> None:
    """A CE offers the other family as well, and uses it: it is not negotiated and not taken, and
    the session goes on (RFC 4760 section 7)."""
    other = 10 - version
    families = (bgp.IPV4, bgp.IPV6)
    good = {4: "10.101.5.0/24", 6: "2001:db8:101:5::/64"}
    behind = {4: "10.101.6.0/24", 6: "2001:db8:101:6::/64"}
    with to_pe("red", version, families=families) as session:
        (opening,) = session.bodies(bgp.OPEN)
        offered = b"\x01\x04" + struct.pack("!HBB", 1 if other == 4 else 2, 0, 1)
        assert offered not in opening
        taken(net, session, good[version])
        if other == 6:
            session.send(announce(good[6]))
        else:
            hop = ipaddress.ip_address(plan.ce(1, 4)).packed
            reach = bgp.mp_reach(bgp.IPV4, hop, bgp.prefixes(good[4]))
            session.send(bgp.update(bgp.path(AS, "", reach)))
        taken(net, session, behind[version])  # a sentinel: the UPDATE before it has been read
        assert session.alive
        assert not has(net, "red", good[other])
    assert until(lambda: not learned(net, "red", version), SECONDS)
