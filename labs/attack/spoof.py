"""Labelled packets from where no label may come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labs.attack import ip, link, plan
from labs.attack.net import PROBE_PORT
from labs.attack.port import Port

Frames = Callable[[bytes], list[bytes]]


def inner(version: int, mark: bytes, source: str = "", target: str = "") -> bytes:
    """What is under the labels: from site 2 to site 1, as a remote PE would send it."""
    return ip.udp(source or plan.lan(2, version), target or plan.lan(1, version), PROBE_PORT, mark)


def spoofed(
    sender: Port,
    receiver: bytes,
    labels: Sequence[int],
    version: int = 4,
    *,
    tags: Sequence[link.Tag] = (),
    ttl: int = 64,
    bottom: bool = True,
    kind: int = link.MPLS,
    target: str = "",
) -> Frames:
    """Frames with a label stack; ``receiver`` is the MAC they go to."""

    def frames(mark: bytes) -> list[bytes]:
        payload = link.labelled(labels, inner(version, mark, target=target), ttl=ttl, bottom=bottom)
        return [link.ethernet(receiver, sender.mac, kind, payload, tags)]

    return frames
