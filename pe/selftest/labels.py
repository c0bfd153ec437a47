"""LBL: labelled packets from where none may come (RFC 4364 section 6), and labels that lead
nowhere from where they may."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from pe.selftest import frame as fr
from pe.selftest import packet as pk
from pe.selftest.bench import Mark
from pe.selftest.maker import Maker, counter
from pe.selftest.trial import Attack, Control, Trial
from pe.selftest.world import CORE, NEW, R1, R2, TRUNK, VERSIONS, VID, ce, gateway, host

VLAN, SERVICE = fr.VLAN, fr.SERVICE_VLAN
SAMPLE = 1000
# Implicit null, the router alert and GAL are no label of a VPN (RFC 3032, RFC 5586), nor are the
# others below 16.
RESERVED = (1, 3, 4, 7, 13, 14, 15)
GRE, MPLS_IN_IP, MPLS_IN_UDP = 47, 137, 6635


def trials(make: Maker) -> Iterator[Trial]:
    """Yield all of them."""
    for version in VERSIONS:
        yield from _from_a_ce(make, version)
        yield from _from_the_core(make, version)
    yield _null_from_the_core(make, 0, 4)
    yield _null_from_the_core(make, 2, 6)
    yield _many(make)
    yield _noise(make)
    yield _tunnels(make)


def _from_a_ce(make: Maker, version: int) -> Iterator[Trial]:
    blue = make.around.blue

    def attack(
        requirement: str, sent: str, port: str = R1, counted: str = "",
        labels: tuple[int, ...] = (),
        tags: tuple[fr.Tag, ...] = (), **more: int,
    ) -> Attack:  # fmt: skip
        stack = labels or (blue,)
        frames = make.labelled(port, stack, version, tags=tags, **more)  # type: ignore[arg-type]
        return Attack(
            requirement=requirement, sent=sent, family=version, origin=port, frames=frames,
            control=make.labelled_control(version), counter=counted or counter("lbl_06", R1),
        )  # fmt: skip

    yield attack("LBL-1", "another VPN's label, untagged")
    yield attack("LBL-2", "another VPN's label, priority tag", tags=((VLAN, 0),))
    yield attack("LBL-3", "another VPN's label, VLAN 50", tags=((VLAN, 50),))
    yield attack("LBL-3", "another VPN's label, in a VLAN port", R2, counter("lbl_06", R2),
                 tags=((VLAN, VID),))  # fmt: skip
    for outer, inner in (((VLAN, 50), (VLAN, 60)), ((SERVICE, 50), (VLAN, 60)),
                         ((VLAN, 0), (VLAN, 50))):  # fmt: skip
        name = f"another VPN's label, QinQ {outer[0]:04x}:{outer[1]} {inner[0]:04x}:{inner[1]}"
        yield attack("LBL-4", name, tags=(outer, inner))
    yield attack("LBL-6", "another VPN's label, ethertype 0x8848", kind=fr.MPLS_MULTICAST)
    null = 0 if version == 4 else 2
    yield attack("LBL-7", f"explicit null ({null})", labels=(null,))
    yield attack("LBL-8", "explicit null over another VPN's label", labels=(null, blue))
    yield attack("LBL-11", "another VPN's label, TTL 1", ttl=1)
    # The port is not configured: it has no chain of its own, and still accepts no label.
    yield Attack(
        requirement="LBL-16", sent="another VPN's label, on an unconfigured port", family=version,
        origin=NEW, frames=make.labelled(NEW, [blue], version),
        control=make.labelled_control(version),
    )  # fmt: skip


def _from_the_core(make: Maker, version: int) -> Iterator[Trial]:
    around, control = make.around, make.labelled_control(version)

    def attack(requirement: str, sent: str, *labels: int, **more: int) -> Attack:
        frames = make.labelled(CORE, labels, version, **more)  # type: ignore[arg-type]
        return Attack(requirement=requirement, sent=sent, family=version, origin=CORE,
                      frames=frames, control=control)  # fmt: skip

    yield attack("LBL-9", "core: a label under a VPN's label", around.red, around.blue)
    for label in (*RESERVED, around.unused):
        yield attack("LBL-10", f"core: unallocated label {label}", label)
    yield attack("LBL-10", "core: no bottom of stack", around.blue, bottom=False)
    for ttl in (0, 1):
        yield attack("LBL-11", f"core: label TTL {ttl}", around.blue, ttl=ttl)


def _null_from_the_core(make: Maker, label: int, version: int) -> Attack:
    """Send explicit null, which enters the global table as if from ``lo`` (trap T9)."""
    target = next((a for a in make.around.loopbacks if (":" in a) == (version == 6)), "")

    def frames(mark: Mark) -> list[bytes]:
        packet = pk.echo(host(2, version), target or host(1, version), mark.token)
        return [make.raw(CORE, fr.MPLS, fr.stacked([label], packet))]

    return Attack(
        requirement="LBL-7", sent=f"core: explicit null ({label})", family=version, origin=CORE,
        frames=frames, control=make.labelled_control(version), counter=counter("lbl_07", CORE),
    )  # fmt: skip


def _many(make: Maker) -> Attack:
    """Return every label that the node has given out, and many that it has not."""
    dice = random.Random(4364)  # noqa: S311 - any thousand will do
    labels = [*make.around.in_use, *dice.sample(range(1 << 20), SAMPLE)][:SAMPLE]

    def frames(mark: Mark) -> list[bytes]:
        return [frame for label in labels for frame in make.labelled(R1, [label], 4)(mark)]

    return Attack(
        requirement="LBL-13", sent=f"{len(labels)} labels, all in use among them", family=4,
        origin=R1, frames=frames, control=make.labelled_control(4), copies=1,
        counter=counter("lbl_06", R1),
    )  # fmt: skip


def _noise(make: Maker) -> Attack:
    """Send malformed packets under a valid label: other versions, cut headers."""

    def frames(mark: Mark) -> list[bytes]:
        good = pk.udp(host(2, 4), host(1, 4), 9, mark.token)
        payloads = [bytes([nibble << 4 | 5]) + good[1:] for nibble in (0, 5, 7, 15)]
        payloads += [good[:length] for length in (0, 1, 8, 19)]
        label = make.around.blue
        return [make.raw(CORE, fr.MPLS, fr.stacked([label], p)) for p in payloads]

    return Attack(requirement="LBL-12", sent="core: a good label over what is no packet", family=0,
                  origin=CORE, frames=frames, control=make.labelled_control(4))  # fmt: skip


def _tunnels(make: Maker) -> Attack:
    """Send labels in GRE, IP and UDP (RFC 4023, RFC 7510)."""

    def frames(mark: Mark) -> list[bytes]:
        stack = fr.stacked([make.around.blue], pk.udp(host(2, 4), host(1, 4), 9, mark.token))
        ends = ce(1, 4), gateway(1, 4)
        gre = struct.pack("!HH", 0, fr.MPLS) + stack
        near = pk.Form(ttl=255)
        packets = [pk.packet(*ends, GRE, gre, near), pk.packet(*ends, MPLS_IN_IP, stack, near),
                   pk.udp(*ends, MPLS_IN_UDP, stack, near)]  # fmt: skip
        return [make.frame(R1, packet) for packet in packets]

    return Attack(
        requirement="LBL-14", sent="labels in GRE, IP and UDP to the PE", family=4, origin=R1,
        frames=frames, control=make.session_control(4), counter=counter("acl_01"),
        table="inet",
    )  # fmt: skip


def tagged(make: Maker) -> Iterator[Trial]:
    """Test ISO-12: a trunk accepts the tags of its own VLAN ports only."""
    for sent, tags in (("VLAN 11", ((VLAN, 11),)), ("no tag", ()), ("VLAN 0", ((VLAN, 0),)),
                       ("service tag of the VLAN port", ((SERVICE, VID),))):  # fmt: skip

        def frames(mark: Mark, tags: tuple[fr.Tag, ...] = tags) -> list[bytes]:
            packet = pk.udp(host(2, 4), host(1, 4), 9, mark.token)
            return [make.raw(R2, fr.IPV4, packet, tags)]

        def good(mark: Mark) -> list[bytes]:
            return [make.frame(R2, pk.udp(host(2, 4), host(1, 4), 9, mark.token))]

        yield Attack(
            requirement="ISO-12", sent=f"a trunk, {sent}", family=4, origin=R2, frames=frames,
            control=Control(R2, good, R1), counter=counter("iso_12", TRUNK),
        )  # fmt: skip
