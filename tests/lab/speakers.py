"""Speakers in network namespaces, for the tests of BGP sessions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from controlplane.model.events import Event, SessionUp
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker import SpeakerPool
from labs.namespaces import inside
from tests.parts import LonePart
from tests.sessions import by_vrf

FAMILIES = tuple(Family)


def ip(*words: str) -> None:
    """Run ``ip`` and insist."""
    subprocess.run(["ip", *words], check=True)


class Speaker:
    """A pool whose events and log lines are kept."""

    def __init__(
        self,
        namespace: str,
        router_id: str,
        *,
        in_vrfs: bool = False,
        restart_time: int = 120,
        queue_limit: int = 2_000_000,
    ) -> None:
        self.namespace, self.restart_time = namespace, restart_time
        self.events: list[Event] = []
        self.log: list[tuple[str, str, dict[str, str | int]]] = []
        self.pool = SpeakerPool(
            run_dir=Path("/tmp"),  # noqa: S108
            user="nobody",
            router_id=IPv4Address(router_id),
            emit=self.events.extend,
            log=lambda level, event, fields: self.log.append((level, event, fields)),
            part=LonePart(),
            device_of=(lambda vrf: vrf) if in_vrfs else None,
            queue_limit=queue_limit,
        )

    def configure(self, *peers: PeerIntent) -> None:
        """As the pool's, with workers that are started in this speaker's namespace."""
        with inside(self.namespace):
            self.pool.configure(by_vrf(peers, self.pool), self.restart_time)

    def reported(self, kind: type[Event], vrf: str | None = None) -> list[Event]:
        """The events of a kind, of one VRF if it is named."""
        return [e for e in self.events if isinstance(e, kind) and vrf in (None, _vrf(e))]

    async def sees(self, kind: type[Event], vrf: str | None = None, count: int = 1) -> None:
        """Wait until that many events of the kind were reported."""
        await eventually(lambda: len(self.reported(kind, vrf)) >= count, f"{kind.__name__} {vrf}")

    async def is_up(self, vrf: str | None = None) -> None:
        """Wait for a session."""
        await self.sees(SessionUp, vrf)

    def worker(self, vrf: str) -> int:
        """The process id of a VRF's worker."""
        started = [f["pid"] for _, e, f in self.log if e == "speaker_started" and f["vrf"] == vrf]
        return int(started[-1])


def _vrf(event: Event) -> str | None:
    peer = getattr(event, "peer", None)
    return peer.vrf if peer is not None else getattr(event, "vrf", None)


def session(
    local: str,
    remote: str,
    *,
    vrf: str = "",
    asns: tuple[int, int] = (65000, 65000),
    md5: str | None = None,
    passive: bool = False,
    ttl_security: int | None = None,
    families: tuple[Family, ...] = FAMILIES,
    hold_time: int = 90,
) -> PeerIntent:
    """One session; ``asns`` are ours and the peer's."""
    return PeerIntent(
        peer=PeerId(vrf, ip_address(remote)),
        asn=asns[1],
        local_address=ip_address(local),
        local_as=asns[0],
        families=families,
        md5=md5,
        passive=passive,
        ttl_security=ttl_security,
        hold_time=hold_time,
    )


async def eventually(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait for a condition; AssertionError names ``what`` if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def arguments(pid: int) -> bytes:
    """A process's command line, as everybody can read it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid: int) -> bool:
    """True while a process is there and no zombie."""
    try:
        return not status(pid)["State"].startswith("Z")
    except OSError:
        return False


def run(test: Callable[[], object]) -> None:
    """Run a test's coroutine, warnings of the loop included."""
    asyncio.run(test(), debug=os.environ.get("PYTHONASYNCIODEBUG") == "1")  # type: ignore[arg-type]
