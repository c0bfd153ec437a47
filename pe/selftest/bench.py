"""Send and receive frames at the test ports, and answer as honest neighbours do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controlplane.model.supervision import Part
from pe.process import sysctl
from pe.selftest import frame as fr
from pe.selftest.frame import Frame
from pe.selftest.tap import Tap
from pe.selftest.world import CORE, NEW, STATIONS, TAPS, Station

KEPT = 4096
"""Frames remembered: all of one trial, and no more of a flood than that."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Identify one trial's packets: bytes in the payload, or a TCP port if there is none."""

    token: bytes
    port: int

    def is_on(self, seen: Seen) -> bool:
        """Return True for a packet that carries it, or that answers one that did."""
        return self.token in seen.data or seen.frame.is_tcp_to(self.port)


@dataclass(frozen=True, slots=True)
class Seen:
    """Describe a frame that left by the port of a station."""

    station: str
    data: bytes
    frame: Frame


class SelftestBed:
    """Ports and stations, on the running loop, until it is closed. Raises OSError where no ports
    can be made."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._taps: dict[str, Tap] = {}
        self._seen: list[Seen] = []
        self._news = asyncio.Event()
        self._numbers = itertools.count(1)
        try:
            self._make_ports()
        except OSError:
            self.close()
            raise

    def _make_ports(self) -> None:
        loop = asyncio.get_running_loop()
        for name in TAPS:
            tap = self._taps[name] = Tap(name)
            reader = self._part.guard(self._read, self._stop_waiting, f"port {name}")
            loop.add_reader(tap.descriptor, reader, name)
        # Else its link-local address cannot be used for a second.
        sysctl.write(f"ipv6/conf/{CORE}/accept_dad", "0")
        self._taps[NEW].set_up()

    def _stop_waiting(self) -> None:
        """Have what waits look again: what a read lost shows as a check that fails."""
        self._news.set()

    def close(self) -> None:
        """Take the ports away."""
        loop = asyncio.get_running_loop()
        for tap in self._taps.values():
            loop.remove_reader(tap.descriptor)
            tap.close()
        self._taps.clear()

    def mark(self) -> Mark:
        """Return a new mark."""
        number = next(self._numbers)
        return Mark(b"selftest-%06d" % number, 40000 + number % 20000)

    def mac(self, station: str) -> bytes:
        """Return the PE's end of a station's port."""
        return self._taps[STATIONS[station].tap].mac

    def send(self, station: str, frames: list[bytes]) -> None:
        """Send frames in this order."""
        tap = self._taps[STATIONS[station].tap]
        for one in frames:
            tap.send(one)

    def seen(self, mark: Mark) -> Iterator[Seen]:
        """Return the frames with a mark that have come out so far."""
        self._read_all()
        return (seen for seen in self._seen if mark.is_on(seen))

    def received(self) -> list[Seen]:
        """Return all frames that have come out since ``forget``."""
        self._read_all()
        return self._seen

    def forget(self) -> None:
        """Begin anew."""
        self._read_all()
        self._seen.clear()

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait for what comes out to make something true, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        return holds()

    def _read_all(self) -> None:
        for name in self._taps:
            self._read(name)

    def _read(self, name: str) -> None:
        for data in self._taps[name].frames():
            parsed = fr.parse(data)
            station = _station(name, parsed)
            if station is None:
                continue
            if answer := self._answer(station, parsed):
                self._taps[name].send(answer)
            if len(self._seen) < KEPT:
                self._seen.append(Seen(station.port, data, parsed))
        self._news.set()

    def _answer(self, station: Station, seen: Frame) -> bytes | None:
        """Answer a request for a station's address as an honest neighbour does."""
        asked = fr.arp_fields(seen)
        if asked and asked[0] == 1 and asked[2] in station.own:
            packet = fr.arp(2, station.mac, asked[2], asked[1], seen.source)
            return framed(station, seen.source, fr.ARP, packet)
        target = fr.discovery_target(seen, fr.SOLICITATION)
        if target in station.own and seen.sender:
            packet = fr.advertisement(station.mac, target, seen.sender)
            return framed(station, seen.source, fr.IPV6, packet)
        return None


def _station(tap: str, seen: Frame) -> Station | None:
    vid = seen.tags[0] if seen.tags else 0
    found = (s for s in STATIONS.values() if s.tap == tap and s.vid == vid)
    return next(found, None)


def framed(station: Station, target: bytes, kind: int, payload: bytes) -> bytes:
    """Return a frame as a station sends it."""
    tags = [(fr.VLAN, station.vid)] if station.vid else []
    return fr.ethernet(target, station.mac, kind, payload, tags)
