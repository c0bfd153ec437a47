"""Make the frames and controls of trials from the node's properties."""

from __future__ import annotations

from collections.abc import Sequence

from pe.nft.names import name as nft_name
from pe.selftest import frame as fr
from pe.selftest import packet as pk
from pe.selftest.bench import Mark, SelftestBed, framed
from pe.selftest.packet import PLAIN, Form
from pe.selftest.trial import Control, Frames
from pe.selftest.world import (
    B1,
    CORE,
    R1,
    R2,
    STATIONS,
    SelftestBedSettings,
    ce,
    gateway,
    host,
)

PROBE = 9
"""Discard (RFC 863)."""


class Maker:
    """Make the frames of one self-test."""

    def __init__(self, bench: SelftestBed, around: SelftestBedSettings) -> None:
        self._bench, self.around = bench, around

    def frame(self, station: str, packet: bytes) -> bytes:
        """Return an IP packet as a station sends it to the PE."""
        target = self._bench.mac(station)
        return framed(STATIONS[station], target, fr.ethertype(packet), packet)

    def raw(
        self, station: str, kind: int, payload: bytes, tags: Sequence[fr.Tag] = (),
        target: bytes = b"",
    ) -> bytes:  # fmt: skip
        """Return a frame from a station to the PE, with exactly these tags."""
        own = STATIONS[station].mac
        return fr.ethernet(target or self._bench.mac(station), own, kind, payload, tags)

    def between(
        self, mark: Mark, version: int, form: Form = PLAIN, source: str = "", number: int = 1
    ) -> bytes:
        """Return a datagram from red's first site to its second."""
        target = host(2, version)
        return pk.udp(source or host(1, version, number), target, PROBE, mark.token, form)

    def labelled(
        self, station: str, labels: Sequence[int], version: int, *, tags: Sequence[fr.Tag] = (),
        ttl: int = 64, bottom: bool = True, kind: int = fr.MPLS, form: Form = PLAIN,
        target: str = "",
    ) -> Frames:  # fmt: skip
        """Return frames under labels, as a remote PE sends them: from site 2 to site 1."""

        def frames(mark: Mark) -> list[bytes]:
            inner = pk.udp(host(2, version), target or host(1, version), PROBE, mark.token, form)
            stack = fr.stacked(labels, inner, ttl=ttl, bottom=bottom)
            return [self.raw(station, kind, stack, tags)]

        return frames

    def site_to_site(self, version: int) -> Control:
        """Return the legitimate packet of red: from its first site to its second."""
        return Control(R1, lambda m: [self.frame(R1, self.between(m, version))], R2)

    def labelled_control(self, version: int, label: int = 0, at: str = B1) -> Control:
        """Return the legitimate labelled packet: from the core, to a site."""
        label = label or self.around.blue
        return Control(CORE, self.labelled(CORE, [label], version), at)

    def session(self, version: int, ttl: int = 255) -> Frames:
        """Return the first packet of the BGP session that red's CE may open."""

        def frames(mark: Mark) -> list[bytes]:
            source, target = ce(1, version), gateway(1, version)
            return [self.frame(R1, pk.syn(source, target, 179, mark.port, Form(ttl=ttl)))]

        return frames

    def session_control(self, version: int) -> Control:
        """Return the control for a session: TCP answers with a reset, as there is no speaker."""
        return Control(R1, self.session(version), R1)


def counter(requirement: str, subject: str = "") -> str:
    """Return the name of a guard's counter (``pe.filters.parts.counted``)."""
    return f"{requirement}__{nft_name(subject)}" if subject else requirement
