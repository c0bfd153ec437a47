"""Test ISO, HIDE, TRN: separation of VPNs, hiding of the core, transparency."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pe.selftest import frame as fr
from pe.selftest import packet as pk
from pe.selftest.access import is_advertised, solicitation_control
from pe.selftest.bench import Mark
from pe.selftest.frame import Frame
from pe.selftest.maker import PROBE, Maker, counter
from pe.selftest.packet import Form
from pe.selftest.sources import arp_control, asks, is_at
from pe.selftest.trial import Attack, Frames, Observation, Trial
from pe.selftest.world import (
    CORE,
    FAR_LABELS,
    R1,
    R2,
    RED,
    STATIONS,
    VERSIONS,
    ce,
    gateway,
    host,
)

OPTIONS = {
    "record route": b"\x07\x07\x04\0\0\0\0",
    "timestamp": b"\x44\x0c\x05\0" + bytes(8),
    "loose source route": b"\x83\x07\x04\x0a\0\0\1",
    "router alert": b"\x94\x04\0\0",
}
EXTENSIONS = {
    "hop-by-hop options": (0, b"\0\x05\x02\0\0\x01\0"),
    "routing header 0": (43, b"\x02\0\x01" + bytes(4) + b"\x20\x01\0\x02" + bytes(11) + b"\1"),
}
FAR = 9


def trials(make: Maker) -> Iterator[Trial]:
    """Yield all of them."""
    for version in VERSIONS:
        yield from _isolation(make, version)
        yield from _pipe(make, version)
        yield from _errors(make, version)
        yield _to_its_address(make, version)
        yield from _unchanged(make, version)
    yield from _options(make)
    yield from _questions(make)


def _own(version: int) -> tuple[str, ...]:
    """Return the PE's addresses in red."""
    return gateway(1, version), gateway(2, version)


def _refusal(version: int) -> Callable[[Frame], bool]:
    return lambda seen: seen.unreachable and seen.sender in _own(version)


def _isolation(make: Maker, version: int) -> Iterator[Trial]:
    yield Observation(
        requirement="ISO-1", sent="red to an address that blue has too", family=version,
        origin=R1, frames=lambda m: [make.frame(R1, make.between(m, version))], at=R2,
        shows=lambda seen: seen.sender == host(1, version),
        expected="it came out at red's site and nowhere else",
    )  # fmt: skip
    around = make.around
    # Each from an address of its own: the kernel sends few errors to one host (RFC 1812 4.3.2.8).
    targets = [("ISO-2", "a prefix that only blue has", host(3, version))]
    targets += [("ISO-2", f"core peer {a}", a) for a in around.peers[:2]]
    targets += [("ISO-3", f"the node's loopback {a}", a) for a in around.loopbacks]
    for number, (requirement, sent, target) in enumerate(targets, start=20):
        if (":" in target) == (version == 6):
            yield Observation(
                requirement=requirement, sent=f"red to {sent}", family=version, origin=R1,
                frames=_to(make, version, target, number), at=R1, shows=_refusal(version),
                expected="ICMP unreachable from an address of its own VPN",
            )  # fmt: skip


def _to(make: Maker, version: int, target: str, number: int, form: Form = pk.PLAIN) -> Frames:
    source = host(1, version, number)
    return lambda m: [make.frame(R1, pk.udp(source, target, PROBE, m.token, form))]


def _pipe(make: Maker, version: int) -> Iterator[Trial]:
    def in_pipe(seen: Frame) -> bool:
        return (
            tuple(label for label, _ in seen.labels) == FAR_LABELS
            and all(ttl == 255 for _, ttl in seen.labels)
            and seen.payload[7 if version == 6 else 8] == pk.HOPS - 1
        )

    yield Observation(
        requirement="HIDE-1", sent="red to a site behind the core", family=version, origin=R1,
        frames=_to(make, version, host(FAR, version), 1), at=CORE, shows=in_pipe,
        expected="label TTL 255, independent of the customer's TTL",
    )  # fmt: skip
    red = make.around.red
    yield Attack(
        requirement="HIDE-2", sent="core: a packet with TTL 1 under red's label", family=version,
        origin=CORE, frames=make.labelled(CORE, [red], version, form=Form(ttl=1)),
        control=make.labelled_control(version, red, R1), counter=counter("hide_02", R1),
    )  # fmt: skip


def _errors(make: Maker, version: int) -> Iterator[Trial]:
    yield Observation(
        requirement="HIDE-3", sent="red, TTL 1", family=version, origin=R1, at=R1,
        frames=_to(make, version, host(2, version), 40, Form(ttl=1)),
        shows=lambda seen: seen.expired and seen.sender in _own(version),
        expected="ICMP time exceeded from an address of its own VPN",
    )  # fmt: skip


def _to_its_address(make: Maker, version: int) -> Trial:
    red, target = make.around.red, gateway(1, version)
    # The kernel reports the VRF as second device for IPv4 only; IPv6 matches the next rule.
    counted = "hide_07" if version == 4 else "acl_01"
    return Attack(
        requirement="HIDE-7", sent="core: to the PE's own address in red", family=version,
        origin=CORE, frames=make.labelled(CORE, [red], version, target=target),
        control=make.labelled_control(version, red, R1), counter=counter(counted, RED),
        table="inet",
    )  # fmt: skip


def _unchanged(make: Maker, version: int) -> Iterator[Trial]:
    form = Form(tos=0xB9, flow=0xABCDE if version == 6 else 0)

    def same_class(seen: Frame) -> bool:
        head = seen.payload
        if version == 4:
            return head[1] == form.tos
        return int.from_bytes(head[:4], "big") == 6 << 28 | form.tos << 20 | form.flow

    yield Observation(
        requirement="TRN-3", sent="DSCP, ECN and flow label", family=version, origin=R1,
        frames=lambda m: [make.frame(R1, make.between(m, version, form))], at=R2,
        shows=same_class, expected="unchanged",
    )  # fmt: skip
    for name, protocol in (("ESP", 50), ("AH", 51)):

        def protected(mark: Mark, protocol: int = protocol) -> list[bytes]:
            body = b"\x3b\x04\0\0" + bytes(20) + mark.token  # AH: then no next header
            ends = host(1, version), host(2, version)
            return [make.frame(R1, pk.packet(*ends, protocol, body))]

        def whole(seen: Frame, protocol: int = protocol) -> bool:
            found, body = seen.upper
            return found == protocol and body[:24] == b"\x3b\x04\0\0" + bytes(20)

        yield Observation(requirement="TRN-1", sent=f"{name} between sites", family=version,
                          origin=R1, frames=protected, at=R2, shows=whole,
                          expected="arrived as it was sent")  # fmt: skip


def _options(make: Maker) -> Iterator[Trial]:
    forms = [(4, name, Form(options=options)) for name, options in OPTIONS.items()]
    forms += [(6, name, Form(extensions=(header,))) for name, header in EXTENSIONS.items()]
    for version, name, form in forms:

        def frames(mark: Mark, version: int = version, form: Form = form) -> list[bytes]:
            return [make.frame(R1, make.between(mark, version, form))]

        yield Attack(
            requirement="HIDE-4", sent=name, family=version, origin=R1, frames=frames,
            control=make.site_to_site(version), counter=counter("hide_04", R1),
        )  # fmt: skip


def _questions(make: Maker) -> Iterator[Trial]:
    """Ask for addresses that are not the port's own: no answer."""
    for name, asked in (("the node's loopback", make.around.loopbacks[0]),
                        ("the address of another port", gateway(2, 4))):  # fmt: skip
        frames = [asks(make, ce(1, 4), asked)]
        yield Attack(requirement="HIDE-5", sent=f"ARP for {name}", family=4, origin=R1,
                     frames=lambda _mark, found=frames: found,  # type: ignore[misc]
                     control=arp_control(make), answers=is_at(asked))  # fmt: skip
    v6 = [a for a in make.around.loopbacks if ":" in a][:1]
    for name, asked in (*(("the node's loopback", a) for a in v6),
                        ("the address of another port", gateway(2, 6))):  # fmt: skip
        target, packet = fr.solicitation(STATIONS[R1].mac, ce(1, 6), asked)
        question = make.raw(R1, fr.IPV6, packet, target=target)
        yield Attack(requirement="HIDE-5", sent=f"neighbour discovery for {name}", family=6,
                     origin=R1, frames=lambda _mark, found=question: [found],  # type: ignore[misc]
                     control=solicitation_control(make),
                     answers=is_advertised(asked))  # fmt: skip
