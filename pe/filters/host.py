"""The guards in the IP stack: who may talk to the PE, what is forwarded, zones and limits.

Where packets pass (kernel-facts): CE to core in FORWARD with the VRF as input device, core to CE
in OUTPUT with the CE port as output device and never in FORWARD (T3). ``tenant`` is reached from
both: it is where the policy inside a VPN belongs.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.desired import CePort, Session
from controlplane.model.verdict import ALLOW_BIT
from pe.filters.context import RenderContext, merged, networks
from pe.model.guards import Guard
from pe.nft.text_model import Chain, NamedSet, braces, devices, dropped, name, quoted

BGP = 179
# Before defragmentation (-400), so that untracked packets are not put together on their way.
RAW = -450
DISCOVERY = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255"
SMALL_LINK = {4: 30, 6: 126}
"""Links up to this size cannot fill the neighbour table."""


def sets(scope: RenderContext) -> Iterator[NamedSet]:
    """Ports by what they are, sessions, and where packets go by their device: one look-up each
    time, whatever there is to be said about a port."""
    desired = scope.desired
    yield devices("vrfs", desired.vrfs)
    yield devices("ce_ports", desired.ce_ports)
    yield devices("core_ports", desired.core_ports)
    yield devices("spare_ports", scope.spare_ports)
    yield _verdicts("arrivals", "ifname", _arrivals(scope))
    yield _verdicts("departures", "ifname", _tracking(scope))
    yield _verdicts("crossings", "ifname", _crossings(scope))
    for version in (4, 6):
        kind = f"ipv{version}_addr"
        pair = f"ifname . {kind} . {kind}"
        yield NamedSet(f"neighbours{version}", f"type {pair}", _neighbours(scope, version))
        yield _verdicts(f"sessions{version}", pair, _ce_sessions(scope, version))
        yield _verdicts(f"core_sessions{version}", f"{kind} . {kind}", _core(scope, version))
    yield _verdicts("limited_ports", "ifname", _limited(scope))
    yield from _judged_sets(scope)
    yield from _on_link_sets(scope)


def _arrivals(scope: RenderContext) -> frozenset[str]:
    """Every port that may say anything, and how what comes from it is tracked. The core and the
    node itself are not in any zone."""
    others = {*scope.desired.core_ports, "lo", *scope.spare_ports}
    passed = {f"{quoted(device)} : accept" for device in others}
    return frozenset({*_tracking(scope), *passed})


def _tracking(scope: RenderContext) -> frozenset[str]:
    """CE ports and VRFs. A VRF's device has no zone: its ports have, and by VRF it has no
    effect (T4)."""
    vrfs = {f"{quoted(v.name)} : {_untracked(scope, v.name) or 'accept'}" for v in scope.vrfs}
    ports = {f"{quoted(p.name)} : {_port_tracking(scope, p)}" for p in scope.ce_ports}
    return frozenset({*vrfs, *ports})


def _port_tracking(scope: RenderContext, port: CePort) -> str:
    return f"goto zone_{port.zone}" if scope.is_tracked(port.vrf) else "goto stateless"


def _untracked(scope: RenderContext, vrf: str) -> str:
    """What of a VRF's packets is not tracked: all, or pieces of datagrams; "": nothing."""
    if not scope.is_tracked(vrf):
        return "goto stateless"
    return "goto pieces" if _is_only_counted(scope, vrf) else ""


def _is_only_counted(scope: RenderContext, vrf: str) -> bool:
    """Connections are counted and no more: no rule there needs to see whole datagrams, and the
    memory for putting them together is one for all VRFs (DOS-8)."""
    return scope.on(Guard.LIMITS) and scope.is_tracked(vrf) and vrf not in scope.tracked


def _crossings(scope: RenderContext) -> frozenset[str]:
    """Where a packet goes that is forwarded, by where it comes from: a VRF's, or the core's."""
    vrfs = {f"{quoted(vrf.name)} : goto {_from(scope, vrf.name)}" for vrf in scope.vrfs}
    core = {f"{quoted(port)} : goto from_core" for port in scope.desired.core_ports}
    return frozenset({*vrfs, *core})


def _from(scope: RenderContext, vrf: str) -> str:
    return f"from_{name(vrf)}" if _is_limited(scope, vrf) else "from_vrf"


def _verdicts(set_name: str, key: str, elements: frozenset[str]) -> NamedSet:
    return NamedSet(set_name, f"type {key} : verdict", elements, is_map=True)


def _neighbours(scope: RenderContext, version: int) -> frozenset[str]:
    return frozenset(
        f"{quoted(s.port)} . {s.peer.address} . {s.local}"
        for s in _sessions(scope)
        if s.port and s.peer.address.version == version
    )


def _ce_sessions(scope: RenderContext, version: int) -> frozenset[str]:
    # In INPUT the input device is the VRF; the port is sdif (T11).
    return frozenset(
        f"{quoted(s.port)} . {s.peer.address} . {s.local} : goto ttl_{s.min_ttl}"
        for s in _sessions(scope)
        if s.port and s.peer.address.version == version
    )


def _core(scope: RenderContext, version: int) -> frozenset[str]:
    return frozenset(
        f"{s.peer.address} . {s.local} : goto ttl_{s.min_ttl}"
        for s in _sessions(scope)
        if not s.port and s.peer.address.version == version
    )


def _sessions(scope: RenderContext) -> list[Session]:
    return list(scope.desired.sessions.values())


def _judged_sets(scope: RenderContext) -> Iterator[NamedSet]:
    judged = {vrf.name for vrf in scope.vrfs if scope.is_judged(vrf.name)}
    if judged:
        ports = (port for port in scope.ce_ports if port.vrf in judged)
        jumps = frozenset(f"{quoted(p.name)} : jump leak_{name(p.vrf)}" for p in ports)
        yield _verdicts("judged_ports", "ifname", jumps)


def _leaks(scope: RenderContext) -> Iterator[str]:
    """Out of a VRF without policy straight into one that is under policy, where routes leak."""
    if any(scope.is_judged(vrf.name) for vrf in scope.vrfs):
        yield "oifname vmap @judged_ports"


def _is_limited(scope: RenderContext, vrf: str) -> bool:
    return scope.is_judged(vrf) or (scope.is_tracked(vrf) and scope.on(Guard.LIMITS))


def _limited(scope: RenderContext) -> frozenset[str]:
    return frozenset(
        f"{quoted(port.name)} : jump limit_{name(port.vrf)}"
        for port in scope.ce_ports
        if _is_limited(scope, port.vrf)
    )


def chains(scope: RenderContext) -> Iterator[Chain]:
    """Every chain of the IP stack."""
    yield from _raw(scope)
    yield from _input(scope)
    for min_ttl in sorted({session.min_ttl for session in _sessions(scope)}):
        yield _ttl(min_ttl)
    yield _bgp()
    yield from _limits(scope)
    yield from _on_link(scope)
    yield _forward(scope)
    yield from _crossed(scope)
    yield _output()
    yield Chain("to_ce", ("oifname vmap @limited_ports", *_on_link_jump(scope), "jump tenant"))
    yield Chain("tenant", ("accept",))


def _raw(scope: RenderContext) -> Iterator[Chain]:
    """Before connection tracking: what it is to follow, and in which zone."""
    unknown = (dropped("fail_01"),) if scope.on(Guard.UNKNOWN_PORT) else ()
    arrived = ("iifname vmap @arrivals", *unknown)
    yield Chain("zone_in", arrived, f"type filter hook prerouting priority {RAW};")
    left = ("oifname vmap @departures",)
    yield Chain("zone_out", left, f"type filter hook output priority {RAW};")
    yield Chain("stateless", ("notrack", "accept"))
    yield Chain("pieces", tuple(_pieces()))
    yield Chain("neighbour", tuple(_neighbour()))
    zones = {p.zone: p.vrf for p in scope.ce_ports if scope.is_tracked(p.vrf)}
    for zone, vrf in sorted(zones.items()):
        yield Chain(f"zone_{zone}", tuple(_zone(scope, zone, vrf)))


def _pieces() -> Iterator[str]:
    yield "ip frag-off & 0x3fff != 0 notrack accept"
    yield "exthdr frag exists notrack accept"


def _neighbour() -> Iterator[str]:
    """A neighbour's SYNs are let in, and each would be tracked without a limit (CPP-5, T15)."""
    yield "iifname . ip saddr . ip daddr @neighbours4 notrack accept"
    yield "iifname . ip6 saddr . ip6 daddr @neighbours6 notrack accept"


def _zone(scope: RenderContext, zone: int, vrf: str) -> Iterator[str]:
    """By port, both ways: one way leaves replies invalid (T5)."""
    if scope.on(Guard.LIMITS):
        yield f"tcp dport {BGP} jump neighbour"
        yield f"tcp sport {BGP} jump neighbour"
    if _is_only_counted(scope, vrf):
        yield from _pieces()
    if scope.on(Guard.ZONES):
        yield f"ct zone set {zone}"


def _input(scope: RenderContext) -> Iterator[Chain]:
    if not scope.on(Guard.INPUT):
        return
    # Neighbour discovery alone keeps the port as its device (vrf_ip6_rcv, ipv6_ndisc_frame).
    rules = [f"iifname @ce_ports {DISCOVERY} accept", "iifname @vrfs jump from_vpn"]
    null_port = any(port.accept_explicit_null for port in scope.desired.core_ports.values())
    # What explicit null delivers seems to come from lo: otherwise never a bare accept (T9).
    rules.append('iifname "lo" accept' if null_port else 'iifname "lo" fib saddr type local accept')
    rules += [
        f"iifname @core_ports tcp dport {BGP} ip saddr . ip daddr vmap @core_sessions4",
        f"iifname @core_ports tcp sport {BGP} ip saddr . ip daddr vmap @core_sessions4",
        f"iifname @core_ports tcp dport {BGP} ip6 saddr . ip6 daddr vmap @core_sessions6",
        f"iifname @core_ports tcp sport {BGP} ip6 saddr . ip6 daddr vmap @core_sessions6",
        "iifname @core_ports accept",
        "iifname @spare_ports accept",
        dropped("fail_01"),
    ]
    yield Chain("to_pe", tuple(rules), "type filter hook input priority filter; policy drop;")
    yield Chain("from_vpn", tuple(_from_vpn(scope)))


def _from_vpn(scope: RenderContext) -> Iterator[str]:
    # A remote site, through the core: the port is the VRF itself (HIDE-7).
    yield from _counted_by_vrf(scope, "meta sdifname @vrfs", "hide_07")
    yield "meta sdifname . ip saddr . ip daddr vmap @sessions4"
    yield "meta sdifname . ip6 saddr . ip6 daddr vmap @sessions6"
    yield from _counted_by_vrf(scope, "", "acl_01")


def _counted_by_vrf(scope: RenderContext, match: str, requirement: str) -> Iterator[str]:
    for vrf in scope.vrfs:
        yield f"{match} iifname {quoted(vrf.name)} {dropped(requirement, vrf.name)}".strip()


def _ttl(min_ttl: int) -> Chain:
    """GTSM (RFC 5082): before any socket sees it, SYNs and closed ports included."""
    rules = [
        f"ip ttl < {min_ttl} {dropped('bgp_03')}",
        f"ip6 hoplimit < {min_ttl} {dropped('bgp_03')}",
    ]
    return Chain(f"ttl_{min_ttl}", (*(rules if min_ttl else ()), "goto bgp"))


def _bgp() -> Chain:
    """Either side may have opened the connection, but who comes from port 179 may not open one:
    it would reach every port of ours. By flags, so that a VRF need not be tracked for it."""
    return Chain(
        "bgp",
        (
            f"tcp dport {BGP} accept",
            f"tcp sport {BGP} tcp dport >= 1024 tcp flags & (syn|ack) != syn accept",
            dropped("acl_01"),
        ),
    )


def _limits(scope: RenderContext) -> Iterator[Chain]:
    """One count for both directions' hooks: a VRF's share of the one table for all (T15)."""
    for vrf in scope.vrfs:
        if not _is_limited(scope, vrf.name):
            continue
        chain, rules = f"limit_{name(vrf.name)}", list[str]()
        if scope.is_judged(vrf.name):
            flows = f"flows_{name(vrf.name)}"
            yield Chain(chain, tuple(_judged(vrf.name, f"goto {flows}")))
            yield Chain(f"leak_{name(vrf.name)}", tuple(_judged(vrf.name, "return")))
            chain = flows
        if vrf.conntrack_limit:
            over = f"ct state new ct count over {vrf.conntrack_limit}"
            rules.append(f"{over} {dropped('dos_01', vrf.name)}")
        if vrf.new_flows_per_second:
            rate = vrf.new_flows_per_second
            over = f"ct state new limit rate over {rate}/second burst {2 * rate} packets"
            rules.append(f"{over} {dropped('dos_01', vrf.name)}")
        yield Chain(chain, tuple(rules if scope.on(Guard.LIMITS) else ()))


def _crossed(scope: RenderContext) -> Iterator[Chain]:
    """Out of a VRF: what holds for it, then what holds for where it goes."""
    last = (*_on_link_jump(scope), "goto tenant")
    for vrf in scope.vrfs:
        if _is_limited(scope, vrf.name):
            leaks = () if scope.is_judged(vrf.name) else _leaks(scope)
            limit = f"jump limit_{name(vrf.name)}"
            yield Chain(_from(scope, vrf.name), (limit, *leaks, *last))
    yield Chain("from_vrf", (*_leaks(scope), *last))
    yield Chain("from_core", ("oifname @core_ports accept", *_nowhere(scope)))


def _nowhere(scope: RenderContext) -> Iterator[str]:
    if scope.on(Guard.UNKNOWN_PORT):
        yield dropped("fail_01")


def _judged(vrf: str, then: str) -> Iterator[str]:
    """A policy is kept in a table of its own, earlier in the same hooks. What it allows has a bit
    in its connection's mark, or in its own if it has no connection; without that table nothing
    new gets a bit, and nothing passes. ``ct`` ends a rule where there is no connection."""
    yield f"ct mark & {ALLOW_BIT:#x} != 0 {then}"
    yield f"meta mark & {ALLOW_BIT:#x} == 0 {dropped('fail_03', vrf)}"


def _large_links(port: CePort, version: int) -> frozenset[str]:
    links = networks(port.addresses, version)
    return merged([link for link in links if link.prefixlen < SMALL_LINK[version]])


def _on_link_ports(scope: RenderContext) -> list[CePort]:
    if not scope.on(Guard.ON_LINK):
        return []
    return [p for p in scope.ce_ports if _large_links(p, 4) or _large_links(p, 6)]


def _on_link_jump(scope: RenderContext) -> Iterator[str]:
    if _on_link_ports(scope):
        yield "oifname vmap @on_link_ports"


def _on_link_sets(scope: RenderContext) -> Iterator[NamedSet]:
    ports = _on_link_ports(scope)
    if ports:
        jumps = frozenset(f"{quoted(p.name)} : jump on_link_{name(p.name)}" for p in ports)
        yield _verdicts("on_link_ports", "ifname", jumps)
    for port in ports:
        for version in (4, 6):
            if _large_links(port, version):
                yield NamedSet(
                    f"near{version}_{name(port.name)}",
                    f"type ipv{version}_addr; size {scope.neighbours}; "
                    "flags dynamic,timeout; timeout 1m",
                    dynamic=True,
                )


def _on_link(scope: RenderContext) -> Iterator[Chain]:
    """The neighbour table is one for all VRFs: who scans a link may fill a share of it only (T14).

    When the set is full ``update`` breaks off, and the packet falls through to the drop.
    """
    for port in _on_link_ports(scope):
        rules = []
        for version, keyword in ((4, "ip"), (6, "ip6")):
            links, near = _large_links(port, version), f"near{version}_{name(port.name)}"
            if links:
                match = f"{keyword} daddr {braces(links)}"
                rules.append(f"{match} update @{near} {{ {keyword} daddr }} return")
                rules.append(f"{match} {dropped('dos_02', port.name)}")
        yield Chain(f"on_link_{name(port.name)}", tuple(rules))


def _forward(scope: RenderContext) -> Chain:
    """Between VRFs only what routes say; out of the core into a VRF nothing (that is OUTPUT)."""
    policy = "drop" if scope.on(Guard.UNKNOWN_PORT) else "accept"
    hook = f"type filter hook forward priority filter; policy {policy};"
    return Chain("forwarded", ("iifname vmap @crossings", *_nowhere(scope)), hook)


def _output() -> Chain:
    # What the label table hands over for a CE passes here; what the PE says itself does not count.
    return Chain(
        "sent",
        ("oifname @ce_ports fib saddr . oif type != local jump to_ce",),
        "type filter hook output priority filter; policy accept;",
    )


def arp(scope: RenderContext) -> tuple[list[Chain], list[NamedSet]]:
    """The ARP table's chain and sets: silence on ports that nobody configured."""
    if not scope.on(Guard.UNKNOWN_PORT):
        return [], []
    desired = scope.desired
    known = devices("known", {*desired.ce_ports, *desired.core_ports, "lo", *scope.spare_ports})
    hook = "type filter hook input priority filter; policy drop;"
    rules = (f"iifname != @known {dropped('fail_01')}", "accept")
    return [Chain("heard", rules, hook)], [known]
