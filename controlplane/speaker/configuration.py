"""The sessions of one worker, as ExaBGP's configuration text."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from controlplane.model.intent import PeerIntent
from controlplane.speaker.wire import Configure

GTSM_TTL = 255
MOST_RESTART_TIME = 4095

_PROCESS = "process node {\n  run /bin/true;\n  encoder json;\n}\n"
_API = """  api {
    processes [ node ];
    neighbor-changes;
    negotiated;
    receive {
      parsed;
      update;
      refresh;
    }
  }
"""


def render(
    peers: Iterable[PeerIntent],
    *,
    router_id: IPv4Address,
    restart_time: int,
    device: str,
    listen_port: int,
) -> Configure:
    """Return the command that gives a worker its sessions, MD5 keys included.

    ``device`` is the VRF's, "" for the core; ``restart_time`` in seconds, 0 for none.
    """
    ordered = sorted(peers, key=lambda p: str(p.peer.address))
    neighbors = [_neighbor(p, router_id, restart_time, device, listen_port) for p in ordered]
    keys = {str(p.peer.address): p.md5 for p in ordered if p.md5}
    return Configure(_PROCESS + "".join(neighbors), keys, len(ordered))


def _neighbor(
    peer: PeerIntent, router_id: IPv4Address, restart_time: int, device: str, listen_port: int
) -> str:
    lines = [
        f"router-id {router_id}",
        f"local-address {peer.local_address}",
        f"local-as {peer.local_as}",
        f"peer-as {peer.asn}",
        f"hold-time {peer.hold_time}",
        f"listen {listen_port}",
        f"connect {peer.connect_port}",
        "manual-eor true",
        "adj-rib-in false",
        "group-updates true",
        *_optional(peer, device),
    ]
    body = "".join(f"  {line};\n" for line in lines)
    capability = _capability(restart_time)
    return f"neighbor {peer.peer.address} {{\n{body}{capability}{_families(peer)}{_API}}}\n"


def _optional(peer: PeerIntent, device: str) -> list[str]:
    lines = []
    if device:
        lines.append(f"source-interface {device}")
    if peer.passive:
        lines.append("passive true")
    if peer.ttl_security is not None:
        least = GTSM_TTL + 1 - peer.ttl_security
        lines += [f"incoming-ttl {least}", f"outgoing-ttl {GTSM_TTL}"]
    return lines


def _capability(restart_time: int) -> str:
    # ExaBGP reads a time of 0 as "use the hold time".
    time = str(min(restart_time, MOST_RESTART_TIME)) if restart_time else "disable"
    graceful = f"graceful-restart {time}"
    settings = ("asn4 enable", "route-refresh enable", "extended-message disable", graceful)
    return "  capability {\n" + "".join(f"    {s};\n" for s in settings) + "  }\n"


def _families(peer: PeerIntent) -> str:
    names = "".join(f"    {family.value};\n" for family in peer.families)
    return f"  family {{\n{names}  }}\n"
