"""Test SPF and ACL-5: packets with spoofed sources (RFC 4381 section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pe.selftest import frame as fr
from pe.selftest.bench import Mark
from pe.selftest.frame import Frame
from pe.selftest.maker import Maker, counter
from pe.selftest.trial import Attack, Control, Trial
from pe.selftest.world import R1, STATIONS, VERSIONS, ce, gateway, host

MARTIANS = {
    4: ("0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    6: ("::1", "::ffff:198.18.11.1", "ff02::1"),
}
FOREIGN = {4: "198.18.77.1", 6: "2001:2:0:77::1"}


def trials(make: Maker) -> Iterator[Trial]:
    """Yield all of them."""
    for version in VERSIONS:
        yield _claim(make, "SPF-1", "martian sources", version, MARTIANS[version])
        yield _claim(make, "SPF-1", "the PE's own address as source", version,
                     (gateway(1, version),))  # fmt: skip
        yield _claim(make, "SPF-2", "an unassigned source", version, (FOREIGN[version],))
        yield _claim(make, "SPF-2", "the source of another site", version, (host(2, version, 9),))
        own = tuple(a for a in make.around.loopbacks if (":" in a) == (version == 6))
        if own:
            yield _claim(make, "ACL-5", "the node's loopback as source", version, own, "acl_05")
    yield _gateways_arp(make)


def _claim(
    make: Maker, requirement: str, sent: str, version: int, sources: tuple[str, ...],
    counted: str = "",
) -> Attack:  # fmt: skip
    def frames(mark: Mark) -> list[bytes]:
        packets = [make.between(mark, version, source=source) for source in sources]
        return [make.frame(R1, packet) for packet in packets]

    name = counted or requirement.lower().replace("-", "_0")
    return Attack(
        requirement=requirement, sent=sent, family=version, origin=R1, frames=frames,
        control=make.site_to_site(version), counter=counter(name, R1),
    )  # fmt: skip


def is_at(address: str) -> Callable[[Frame], bool]:
    """Return a predicate: True for an ARP reply for an address."""

    def shows(seen: Frame) -> bool:
        fields = fr.arp_fields(seen)
        return fields is not None and fields[0] == 2 and fields[1] == address

    return shows


def asks(make: Maker, own: str, asked: str, station: str = R1) -> bytes:
    """Return an ARP question in its frame."""
    packet = fr.arp(1, STATIONS[station].mac, own, asked)
    return make.raw(station, fr.ARP, packet, target=fr.BROADCAST)


def arp_control(make: Maker) -> Control:
    """Return an honest question, answered."""
    frames = [asks(make, ce(1, 4), gateway(1, 4))]
    return Control(R1, lambda _mark: frames, R1, is_at(gateway(1, 4)))


def _gateways_arp(make: Maker) -> Attack:
    """Send gratuitous ARP for the PE's address and for addresses outside the site."""
    claimed = (gateway(1, 4), FOREIGN[4], *make.around.loopbacks[:1])
    frames = [
        make.raw(R1, fr.ARP, fr.arp(kind, STATIONS[R1].mac, address, address), target=fr.BROADCAST)
        for address in claimed
        for kind in (1, 2)
    ]
    return Attack(
        requirement="SPF-4", sent="gratuitous ARP for the PE's address and foreign ones", family=4,
        origin=R1, frames=lambda _mark: frames, control=arp_control(make),
        counter=counter("spf_04", R1),
    )  # fmt: skip
