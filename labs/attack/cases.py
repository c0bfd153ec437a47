"""Faulty UPDATEs and what RFC 7606 demands for each: one table for sender and asserter.

Every case is about one route of its ``Ground``, which is there before. Its attributes stand in
place of those of a good UPDATE. The session is reset only where the routes cannot be located.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labs.attack import bgp, plan


class Outcome(enum.Enum):
    """What becomes of the route in an UPDATE, and of the session."""

    TAKEN = "no error"
    DISCARD = "attribute discard"
    WITHDRAW = "treat-as-withdraw"
    RESET = "session reset"


def stacked(route: bytes, depth: int) -> bytes:
    """A VPN route with more labels than one, the last as it was."""
    more = b"".join((30000 + n << 4).to_bytes(3) for n in range(depth - 1))
    return bytes([route[0] + 24 * (depth - 1)]) + more + route[1:]


T, D, W, R = Outcome.TAKEN, Outcome.DISCARD, Outcome.WITHDRAW, Outcome.RESET


@dataclass(frozen=True, slots=True)
class Case:
    """``message`` is a whole UPDATE; ``clause`` of RFC 7606 unless named."""

    name: str
    message: bytes
    outcome: Outcome
    clause: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Ground:
    """A session on which cases are tried: with a CE, or with a reflector."""

    family: bgp.Family
    prefix: str
    other: str
    next_hop: bytes

    @property
    def is_vpn(self) -> bool:
        """True for the session with the reflector."""
        return self.family in (bgp.VPNV4, bgp.VPNV6)

    def nlri(self, prefix: str = "", label: int = 20000) -> bytes:
        """The route, or another one."""
        if self.is_vpn:
            return bgp.vpn_prefix(prefix or self.prefix, (65000, 7), label)
        return bgp.prefixes(prefix or self.prefix)

    def reach(
        self, nlri: bytes = b"", next_hop: bytes | None = None, *, empty: bool = False
    ) -> bytes:
        """MP_REACH_NLRI with the route, or ``empty``."""
        hop = self.next_hop if next_hop is None else next_hop
        return bgp.mp_reach(self.family, hop, nlri or (b"" if empty else self.nlri()))

    @property
    def basis(self) -> bytes:
        """The attributes of a good route, but for its next hop."""
        if not self.is_vpn:
            return ORIGIN + PATH
        return ORIGIN + bgp.attribute(2, b"") + PREFERENCE + TARGET

    def announcement(self, prefix: str = "") -> bytes:
        """A good UPDATE."""
        if self.family == bgp.IPV4:
            hop = bgp.attribute(3, self.next_hop)
            return bgp.update(self.basis + hop, self.nlri(prefix))
        return bgp.update(self.reach(self.nlri(prefix)) + self.basis)


AS = plan.CE_AS["red"]
ORIGIN = bgp.attribute(1, b"\0")
PATH = bgp.attribute(2, bgp.as_path(AS))
PREFERENCE = bgp.attribute(5, struct.pack("!I", 100))
TARGET = bgp.attribute(16, bgp.target(plan.CORE_AS, 100))
FOUR = struct.pack("!I", 5)

CE4 = Ground(bgp.IPV4, "10.101.1.0/24", "10.101.2.0/24",
             ipaddress.IPv4Address(plan.ce(1, 4)).packed)  # fmt: skip
CE6 = Ground(bgp.IPV6, "2001:db8:101:1::/64", "2001:db8:101:2::/64",
             ipaddress.IPv6Address(plan.ce(1, 6)).packed)  # fmt: skip
VPN4 = Ground(bgp.VPNV4, "10.44.0.0/24", "10.45.0.0/24",
              bgp.packed_next_hop("10.255.0.2", vpn=True))  # fmt: skip
VPN6 = Ground(bgp.VPNV6, "2001:db8:44::/64", "2001:db8:45::/64",
              bgp.packed_next_hop("::ffff:10.255.0.2", vpn=True))  # fmt: skip


def cases(ground: Ground) -> list[Case]:
    """All of a session's."""
    if ground.family == bgp.IPV4:
        return [*_native_attributes(), *_native_routes()]
    return [*(_vpn(ground) if ground.is_vpn else _unicast6()), *_mp_reach(ground)]


def _native_attributes() -> Iterator[Case]:
    hop = bgp.attribute(3, CE4.next_hop)
    good = ORIGIN + PATH + hop
    for name, attributes, outcome, clause in [
        ("origin-length-0", bgp.attribute(1, b"") + PATH + hop, W, "7.1"),
        ("origin-length-2", bgp.attribute(1, b"\0\0") + PATH + hop, W, "7.1"),
        ("origin-unknown", bgp.attribute(1, b"\x03") + PATH + hop, W, "7.1"),
        ("origin-missing", PATH + hop, W, "3 d"),
        ("origin-flags", bgp.attribute(1, b"\0", 0xC0) + PATH + hop, W, "3 c"),
        ("path-missing", ORIGIN + hop, W, "3 d"),
        ("path-cut", ORIGIN + bgp.attribute(2, b"\x02\x05\0\0\xfe\x4d") + hop, W, "7.2"),
        ("path-segment-9", ORIGIN + bgp.attribute(2, bgp.as_path(AS, kind=9)) + hop, W, "7.2"),
        ("path-empty-segment", ORIGIN + bgp.attribute(2, b"\x02\0") + hop, W, "7.2"),
        ("path-confederation", ORIGIN + bgp.attribute(2, bgp.as_path(AS, kind=3)) + hop, W,
         "RFC 5065 5"),
        ("path-confederation-set", ORIGIN + bgp.attribute(2, bgp.as_path(AS, kind=4)) + hop, W,
         "RFC 9774 3"),
        ("path-set", ORIGIN + bgp.attribute(2, bgp.as_path(AS) + bgp.as_path(1, 2, kind=1)) + hop,
         W, "RFC 9774 3"),
        ("path-flags", ORIGIN + bgp.attribute(2, bgp.as_path(AS), 0x80) + hop, W, "3 c"),
        ("hop-length-3", ORIGIN + PATH + bgp.attribute(3, CE4.next_hop[:3]), W, "7.3"),
        ("hop-length-5", ORIGIN + PATH + bgp.attribute(3, CE4.next_hop + b"\0"), W, "7.3"),
        ("hop-missing", ORIGIN + PATH, W, "3 d"),
        ("hop-flags", ORIGIN + PATH + bgp.attribute(3, CE4.next_hop, 0xC0), W, "3 c"),
        ("med-length-0", good + bgp.attribute(4, b""), W, "7.4"),
        ("med-length-3", good + bgp.attribute(4, FOUR[:3]), W, "7.4"),
        ("med-flags", good + bgp.attribute(4, FOUR, 0x40), W, "3 c"),
        ("local-pref-from-outside", good + bgp.attribute(5, FOUR), D, "7.5"),
        ("local-pref-length-from-outside", good + bgp.attribute(5, FOUR[:2]), D, "7.5"),
        ("atomic-aggregate-length", good + bgp.attribute(6, b"\0"), D, "7.6"),
        ("atomic-aggregate-flags", good + bgp.attribute(6, b"", 0xC0), W, "3 c"),
        ("aggregator-length-0", good + bgp.attribute(7, b""), D, "7.7"),
        ("aggregator-length-5", good + bgp.attribute(7, bytes(5)), D, "7.7"),
        ("aggregator-flags", good + bgp.attribute(7, bytes(8), 0x80), W, "3 c"),
        ("communities-length-0", good + bgp.attribute(8, b""), W, "7.8"),
        ("communities-length-3", good + bgp.attribute(8, bytes(3)), W, "7.8"),
        ("communities-flags", good + bgp.attribute(8, FOUR, 0x80), W, "3 c"),
        ("originator-from-outside", good + bgp.attribute(9, FOUR[:3]), D, "7.9"),
        ("cluster-list-from-outside", good + bgp.attribute(10, FOUR[:3]), D, "7.10"),
        ("extended-communities-length-0", good + bgp.attribute(16, b""), W, "7.14"),
        ("extended-communities-length-5", good + bgp.attribute(16, bytes(5)), W, "7.14"),
        ("as4-path-between-new-speakers", good + bgp.attribute(17, b"\x02\x05", 0xC0), D,
         "RFC 6793 6"),
        ("as4-aggregator-length", good + bgp.attribute(18, bytes(3), 0xC0), D, "RFC 6793 6"),
        ("large-communities-length-7", good + bgp.attribute(32, bytes(7)), W, "RFC 8092 5"),
        ("second-origin", good + bgp.attribute(1, b"\x02"), D, "3 g"),
        ("second-communities", good + 2 * bgp.attribute(8, FOUR), D, "3 g"),
        ("unknown-optional", good + bgp.attribute(99, b"x", 0x80), T, "RFC 4271 5"),
        ("unknown-transitive", good + bgp.attribute(99, b"", 0xC0), T, "RFC 4271 5"),
        ("unknown-well-known", good + bgp.attribute(99, b"x", 0x40), W, "2, RFC 4271 6.3"),
        # What is not read is not checked either (sections 7.13, 7.15, 7.16).
        ("traffic-engineering", good + bgp.attribute(24, b"x", 0x80), T, "7.13"),
        ("ipv6-extended-communities", good + bgp.attribute(25, bytes(7), 0xC0), T, "7.15"),
        ("attribute-set", good + bgp.attribute(128, b"\0", 0xC0), T, "7.16"),
        ("pmsi-tunnel", good + bgp.attribute(22, b"", 0xC0), T, "RFC 6514 5"),
        ("tunnel-encapsulation", good + bgp.attribute(23, b"\xff", 0xC0), T, "RFC 9012 13"),
        ("aigp", good + bgp.attribute(26, b"\1\0", 0x80), T, "RFC 7311 3"),
        ("link-state", good + bgp.attribute(29, b"x", 0x80), T, "RFC 9552 8.2"),
        ("prefix-sid", good + bgp.attribute(40, b"\1", 0xC0), T, "RFC 8669 6"),
        ("only-to-customer", good + bgp.attribute(35, b"\0", 0xC0), T, "RFC 9234 5"),
        ("unused-flag-bits", good + bgp.attribute(4, FOUR, 0x8F), T, "RFC 4271 4.3"),
        ("overrun", good + b"\x80\x04\x40" + FOUR, W, "4"),
        ("header-cut", good + b"\x80\x04", W, "4"),
        ("discard-and-withdraw", good + bgp.attribute(7, b"") + bgp.attribute(4, b""), W, "3 h"),
    ]:  # fmt: skip
        yield Case(name, bgp.update(attributes, CE4.nlri()), outcome, clause)


def _native_routes() -> Iterator[Case]:
    hop = bgp.attribute(3, CE4.next_hop)
    good, bad = ORIGIN + PATH + hop, bgp.attribute(4, b"")
    route = CE4.nlri()
    reach = bgp.mp_reach(bgp.IPV4, CE4.next_hop, route)
    strange = bgp.mp_reach((1, 133), CE4.next_hop, b"\xff")
    gone = bgp.mp_unreach(bgp.IPV4, route)
    too_long = b"\x21\x0a\x65\x01\0\0"
    body = struct.pack("!HH", 0, 200) + good
    yield Case("family-that-was-not-negotiated", bgp.update(good + strange, route), D, "RFC 4760 7")
    yield Case("withdrawn-of-such-a-family", bgp.update(
        good + bgp.mp_unreach((25, 70), b"\x01"), route), D, "RFC 4760 7")  # fmt: skip
    for name, message, clause in [
        ("route-of-33-bits", bgp.update(good, too_long), "5.3"),
        ("route-cut", bgp.update(good, route[:-1]), "5.3"),
        ("withdrawn-of-33-bits", bgp.update(withdrawn=too_long), "5.3"),
        ("withdraw-and-reset", bgp.update(good + bad, too_long), "3 h"),
        ("fault-without-routes", bgp.update(good + bad), "5.2"),
        ("overrun-without-routes", bgp.update(good + b"\x80\x04\x40" + FOUR), "5.2"),
        ("attributes-beyond-the-message", bgp.message(bgp.UPDATE, body), "RFC 4271 6.3"),
        ("withdrawn-beyond-the-message",
         bgp.message(bgp.UPDATE, struct.pack("!H", 99) + bytes(2)), "RFC 4271 6.3"),
        ("second-mp-reach", bgp.update(good + reach + reach), "3 g"),
        ("second-mp-unreach", bgp.update(gone + gone), "3 g"),
        ("mp-reach-overrun", bgp.update(good + b"\x80\x0e\xff\0\x01\x01"), "3 j"),
    ]:  # fmt: skip
        yield Case(name, message, R, clause)


def _mp_reach(ground: Ground) -> Iterator[Case]:
    """What may be wrong with the MP attributes of any family."""
    basis, reach, route = ground.basis, ground.reach(), ground.nlri()
    short, long = bytes(5), ground.next_hop + b"\0"
    longest = (32 if ground.family[0] == 1 else 128) + (88 if ground.is_vpn else 0)
    too_long = bytes([longest + 1]) + route[1:].ljust(longest // 8 + 1, b"\0")
    gone = bgp.mp_unreach(ground.family, route)
    for name, attributes, outcome, clause in [
        ("mp-reach-flags", basis + bgp.attribute(14, reach[3:], 0xC0), W, "3 c"),
        ("mp-reach-transitive", basis + bgp.attribute(14, reach[3:], 0x40), W, "3 c"),
        ("mp-unreach-flags", bgp.attribute(15, gone[3:], 0xC0), W, "3 c"),
        ("no-routes", basis + ground.reach(b"", empty=True), D, "RFC 4760 3"),
        ("no-routes-and-a-fault", basis + bgp.attribute(4, b"") + ground.reach(b"", empty=True),
         D, "5.2"),
        ("another-family", basis + bgp.mp_reach((25, 70), b"", b"\xff") , D, "RFC 4760 7"),
        ("another-familys-withdrawal", bgp.mp_unreach((25, 70), b"\x01\x02"), D, "RFC 4760 7"),
    ]:  # fmt: skip
        yield Case(name, bgp.update(attributes), outcome, clause)
    for name, attributes, clause in [
        ("second-mp-reach", basis + reach + reach, "3 g"),
        ("second-mp-unreach", gone + gone, "3 g"),
        ("mp-reach-short", basis + bgp.attribute(14, struct.pack("!HB", *ground.family)), "5.3"),
        ("mp-unreach-short", bgp.attribute(15, b"\0"), "5.3"),
        ("next-hop-of-5-octets", basis + ground.reach(route, short), "7.11"),
        ("next-hop-one-too-long", basis + ground.reach(route, long), "7.11"),
        ("next-hop-beyond", basis + bgp.attribute(
            14, struct.pack("!HBB", *ground.family, 250) + ground.next_hop), "7.11"),
        ("route-too-long", basis + ground.reach(too_long), "5.3"),
        ("route-cut", basis + ground.reach(route[:-1]), "5.3"),
        ("withdrawn-too-long", bgp.mp_unreach(ground.family, too_long), "5.3"),
        ("withdraw-and-reset", basis + bgp.attribute(4, b"") + ground.reach(too_long), "3 h"),
    ]:  # fmt: skip
        yield Case(name, bgp.update(attributes), R, clause)


def _unicast6() -> Iterator[Case]:
    reach = CE6.reach()
    good = reach + ORIGIN + PATH
    for name, attributes, outcome, clause in [
        ("origin-missing", reach + PATH, W, "3 d"),
        ("origin-unknown", reach + bgp.attribute(1, b"\x09") + PATH, W, "7.1"),
        ("path-flags", reach + ORIGIN + bgp.attribute(2, bgp.as_path(AS), 0x80), W, "3 c"),
        ("med-length", good + bgp.attribute(4, bytes(3)), W, "7.4"),
        ("local-pref-from-outside", good + bgp.attribute(5, FOUR[:3]), D, "7.5"),
        ("aggregator-length", good + bgp.attribute(7, bytes(5)), D, "7.7"),
        ("overrun", good + b"\x80\x04\x40" + FOUR, W, "4"),
        ("route-behind-the-others", ORIGIN + PATH + reach, T, "5.1"),
    ]:
        yield Case(name, bgp.update(attributes), outcome, clause)


def _vpn(ground: Ground) -> Iterator[Case]:
    """Internal: VPNv4 and VPNv6."""
    reach, route, path = ground.reach(), ground.nlri(), bgp.attribute(2, b"")
    good = reach + ground.basis
    not_last = route[:3] + bytes([route[3] & 0xFE]) + route[4:]
    two, three = stacked(route, 2), stacked(route, 3)
    wrong_rd = b"\0\0\xfd\xe8\0\0\0\7" + ground.next_hop[8:]
    for name, attributes, outcome, clause in [
        ("no-bottom-of-stack", ground.reach(not_last) + ground.basis, T, "RFC 8277 2.2"),
        ("two-labels", ground.reach(two) + ground.basis, W, "RFC 8277 2.1"),
        ("three-labels", ground.reach(three) + ground.basis, W, "RFC 8277 2.1"),
        ("two-labels-withdrawn", bgp.mp_unreach(ground.family, two), W, "RFC 8277 2.4"),
        ("next-hop-with-a-distinguisher", ground.reach(route, wrong_rd) + ground.basis, W,
         "RFC 4364 4.3.2"),
        ("label-only", ground.reach(b"\x18" + route[1:4]) + ground.basis, R, "5.3"),
        ("rd-cut", ground.reach(b"\x40" + route[1:9]) + ground.basis, R, "5.3"),
        ("rd-of-an-unknown-type", ground.reach(
            route[:4] + b"\0\x07" + route[6:]) + ground.basis, T, "RFC 4364 4.2"),
        ("reserved-label", ground.reach(ground.nlri(label=3)) + ground.basis, W, "RFC 3032 2.1"),
        ("local-pref-missing", reach + ORIGIN + path + TARGET, W, "3 d"),
        ("local-pref-length", reach + ORIGIN + path + bgp.attribute(5, b"\0") + TARGET, W, "7.5"),
        ("path-of-a-confederation", reach + ORIGIN + bgp.attribute(
            2, bgp.as_path(65010, 65011, kind=3) + bgp.as_path(65200)) + PREFERENCE + TARGET, T,
         "RFC 5065 5"),
        ("path-of-a-confederation-alone", reach + ORIGIN + bgp.attribute(
            2, bgp.as_path(65010, kind=3)) + PREFERENCE + TARGET, T, "RFC 5065 5"),
        ("path-confederation-set", reach + ORIGIN + bgp.attribute(
            2, bgp.as_path(65010, kind=4)) + PREFERENCE + TARGET, W, "RFC 9774 3"),
        ("path-set", reach + ORIGIN + bgp.attribute(
            2, bgp.as_path(65200) + bgp.as_path(1, 2, kind=1)) + PREFERENCE + TARGET, W,
         "RFC 9774 3"),
        ("originator-length", good + bgp.attribute(9, b"\0\0"), W, "7.9"),
        ("cluster-list-length", good + bgp.attribute(10, bytes(5)), W, "7.10"),
        ("cluster-list-length-0", good + bgp.attribute(10, b""), W, "7.10"),
        ("targets-length", reach + ORIGIN + path + PREFERENCE + bgp.attribute(16, bytes(7)), W,
         "7.14"),
        ("aggregator-length", good + bgp.attribute(7, bytes(5)), D, "7.7"),
    ]:  # fmt: skip
        yield Case(name, bgp.update(attributes), outcome, clause)
