"""What the guards in the IP stack look up: ports by what they are, sessions, and where packets go
by their device. Each is one look-up, with 1,000 ports as with one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from controlplane.model.desired import CePort, Session
from controlplane.model.speaker_user import speaker_uid
from pe.filters.context import IPNetwork, RenderContext, merged, networks
from pe.filters.parts import FilledSet, devices
from pe.model.guards import Guard
from pe.netlink.ownership import BLACKHOLE
from pe.nft.model import NamedSet
from pe.nft.names import name
from pe.nft.types import TYPES, concatenated, device

SMALL_LINK = {4: 30, 6: 126}
"""Links up to this size cannot fill the neighbour table."""
REMEMBERED_SECONDS = 60
"""For how long an on-link host counts as one of those that are resolved."""


def sets(scope: RenderContext) -> Iterator[FilledSet]:
    """Every set and map of the IP stack."""
    desired, ports = scope.desired, NamedSet(("ifname",))
    yield "vrfs", ports, devices(desired.vrfs)
    yield "ce_ports", ports, devices(desired.ce_ports)
    yield "core_ports", ports, devices(desired.core_ports)
    yield "spare_ports", ports, devices(scope.spare_ports)
    yield _by_port("arrivals", _arrivals(scope))
    yield _by_port("departures", _tracking(scope))
    yield _by_port("crossings", _crossings(scope))
    if scope.on(Guard.WAYS_OUT):
        yield "ways_out", NamedSet(("ifname", "ifname")), _ways_out(scope)
    for version in (4, 6):
        kind = f"ipv{version}_addr"
        yield f"own{version}", NamedSet(("ifname", kind)), _own(scope, version)
        at_port = ("ifname", kind, kind)
        at_ce = _ce_sessions(scope, version)
        yield f"neighbours{version}", NamedSet(at_port), dict.fromkeys(at_ce, b"")
        yield f"sessions{version}", NamedSet(at_port, "verdict"), at_ce
        core = _core_sessions(scope, version)
        yield f"core_sessions{version}", NamedSet((kind, kind), "verdict"), core
    yield from _speaker_sets(scope)
    yield _by_port("limited_ports", _limited(scope))
    yield from _counts(scope)
    yield from _judged_sets(scope)
    yield from _on_link_sets(scope)


def _by_port(set_name: str, verdicts: Mapping[str, str]) -> FilledSet:
    elements = {device(port): words.encode() for port, words in verdicts.items()}
    return set_name, NamedSet(("ifname",), "verdict"), elements


def _arrivals(scope: RenderContext) -> dict[str, str]:
    """Every port that may say anything, and how what comes from it is tracked. The core and the
    node itself are not in any zone."""
    others = {*scope.desired.core_ports, "lo", *scope.spare_ports}
    return {**dict.fromkeys(others, "accept"), **_tracking(scope)}


def _tracking(scope: RenderContext) -> dict[str, str]:
    """CE ports and VRFs. A VRF's device has no zone: its ports have, and by VRF it has no
    effect (T4)."""
    vrfs = {vrf.name: _untracked(scope, vrf.name) or "accept" for vrf in scope.vrfs}
    return vrfs | {port.name: _port_tracking(scope, port) for port in scope.ce_ports}


def _port_tracking(scope: RenderContext, port: CePort) -> str:
    return f"goto zone_{port.zone}" if scope.is_tracked(port.vrf) else "goto stateless"


def _untracked(scope: RenderContext, vrf: str) -> str:
    """What of a VRF's packets is not tracked: all, or pieces of datagrams; "": nothing."""
    if not scope.is_tracked(vrf):
        return "goto stateless"
    return "goto pieces" if is_only_counted(scope, vrf) else ""


def is_only_counted(scope: RenderContext, vrf: str) -> bool:
    """Connections are counted and no more: no rule there needs to see whole datagrams, and the
    memory for putting them together is one for all VRFs (DOS-8)."""
    return scope.on(Guard.LIMITS) and scope.is_tracked(vrf) and vrf not in scope.tracked


def _crossings(scope: RenderContext) -> dict[str, str]:
    """Where a packet goes that is forwarded, by where it comes from: a VRF's, or the core's."""
    vrfs = {vrf.name: f"goto {crossing_chain(scope, vrf.name)}" for vrf in scope.vrfs}
    return vrfs | dict.fromkeys(scope.desired.core_ports, "goto from_core")


def crossing_chain(scope: RenderContext, vrf: str) -> str:
    """The chain of what is forwarded out of a VRF."""
    return f"from_{name(vrf)}" if is_limited(scope, vrf) else "from_vrf"


def _own(scope: RenderContext, version: int) -> dict[bytes, bytes]:
    """VRF and an address at which its packets end here."""
    return {
        concatenated(device(vrf), address.packed): b""
        for vrf, addresses in scope.vrf_addresses(version).items()
        for address in addresses
    }


def _ways_out(scope: RenderContext) -> dict[bytes, bytes]:
    """VRF and a port that its packets may leave by: its own, those of VRFs whose routes it imports,
    and the device that drops all."""
    ports, reaches = dict[str, list[str]](), scope.desired.reaches
    for port in scope.ce_ports:
        ports.setdefault(port.vrf, []).append(port.name)
    pairs = (
        (vrf.name, port)
        for vrf in scope.vrfs
        for owner in (vrf.name, *reaches.get(vrf.name, ()))
        for port in (*ports.get(owner, ()), BLACKHOLE)
    )
    return {concatenated(device(vrf), device(port)): b"" for vrf, port in pairs}


def _ce_sessions(scope: RenderContext, version: int) -> dict[bytes, bytes]:
    # In INPUT the input device is the VRF; the port is sdif (T11).
    return {
        concatenated(device(s.port), s.peer.address.packed, s.local.packed): _by_ttl(s)
        for s in sessions(scope)
        if s.port and s.peer.address.version == version
    }


def _core_sessions(scope: RenderContext, version: int) -> dict[bytes, bytes]:
    return {
        concatenated(s.peer.address.packed, s.local.packed): _by_ttl(s)
        for s in sessions(scope)
        if not s.port and s.peer.address.version == version
    }


def _speaker_sets(scope: RenderContext) -> Iterator[FilledSet]:
    """The users of the BGP processes, and the devices by which each of them may send: those of its
    own VRF. In OUTPUT a packet is seen with the VRF as its device and again with the port."""
    reach = _speaker_reach(scope)
    if reach is None:
        return
    uids = {uid: TYPES["uid"].encode(uid) for uid in reach}
    yield "speaker_uids", NamedSet(("uid",)), dict.fromkeys(uids.values(), b"")
    pairs = (
        concatenated(uids[uid], device(port)) for uid, ports in reach.items() for port in ports
    )
    yield "speakers", NamedSet(("uid", "ifname")), dict.fromkeys(pairs, b"")


def _speaker_reach(scope: RenderContext) -> dict[int, set[str]] | None:
    """Devices by user id; None where the processes have no users of their own."""
    desired = scope.desired
    if desired.node is None or not has_speaker_users(scope):
        return None
    reach = {"": {*desired.core_ports, *scope.spare_ports, "lo"}}
    reach |= {session.peer.vrf: {session.peer.vrf} for session in sessions(scope) if session.port}
    for port in scope.ce_ports:
        if port.vrf in reach:
            reach[port.vrf].add(port.name)
    uid = partial(speaker_uid, desired.node.speaker_uids, desired.node.name)
    return {uid(vrf): ports for vrf, ports in reach.items()}


def has_speaker_users(scope: RenderContext) -> bool:
    """True where each BGP process has a user of its own."""
    return scope.desired.node is not None and bool(scope.desired.node.speaker_uids)


def _by_ttl(session: Session) -> bytes:
    return f"goto ttl_{session.min_ttl}".encode()


def sessions(scope: RenderContext) -> list[Session]:
    """Every session that may be spoken."""
    return list(scope.desired.sessions.values())


def _judged_sets(scope: RenderContext) -> Iterator[FilledSet]:
    judged = {vrf.name for vrf in scope.vrfs if scope.is_judged(vrf.name)}
    if judged:
        ports = (port for port in scope.ce_ports if port.vrf in judged)
        yield _by_port("judged_ports", {p.name: f"jump leak_{name(p.vrf)}" for p in ports})


def is_limited(scope: RenderContext, vrf: str) -> bool:
    """True where what crosses a VRF goes through a chain of its own."""
    return scope.is_judged(vrf) or (scope.is_tracked(vrf) and scope.on(Guard.LIMITS))


ZONES = 1 << 16
"""How many zones there can be: 16 bits (nf_conntrack_zone). A VRF that is tracked has one."""


def connections(limit: int) -> str:
    """Return the set in which the connections of each VRF with that limit are counted. By limit:
    an element keeps the one with which it was made."""
    return f"connections_{limit}"


def _counts(scope: RenderContext) -> Iterator[FilledSet]:
    for limit in sorted({vrf.conntrack_limit for vrf in scope.vrfs} - {0}):
        yield connections(limit), NamedSet(("zone",), size=ZONES), {}


def _limited(scope: RenderContext) -> dict[str, str]:
    return {
        port.name: f"jump limit_{name(port.vrf)}"
        for port in scope.ce_ports
        if is_limited(scope, port.vrf)
    }


def large_links(port: CePort, version: int) -> frozenset[IPNetwork]:
    """The links of a port that could fill the neighbour table."""
    links = networks(port.addresses, version)
    return merged([link for link in links if link.prefixlen < SMALL_LINK[version]])


def on_link_ports(scope: RenderContext) -> list[CePort]:
    """The ports with such links."""
    if not scope.on(Guard.ON_LINK):
        return []
    return [p for p in scope.ce_ports if large_links(p, 4) or large_links(p, 6)]


def _on_link_sets(scope: RenderContext) -> Iterator[FilledSet]:
    ports = on_link_ports(scope)
    if ports:
        yield _by_port("on_link_ports", {p.name: f"jump on_link_{name(p.name)}" for p in ports})
    for port in ports:
        for version in (4, 6):
            if large_links(port, version):
                kind, size = (f"ipv{version}_addr",), scope.neighbours
                near = NamedSet(kind, size=size, timeout=REMEMBERED_SECONDS)
                yield f"near{version}_{name(port.name)}", near, {}
