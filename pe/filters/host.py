"""The guards in the IP stack: who may talk to the PE, what is forwarded, zones and limits.

Where packets pass (kernel-facts): CE to core in FORWARD with the VRF as input device, core to CE
in OUTPUT with the CE port as output device and never in FORWARD (T3). ``tenant`` is reached from
both: it is where the policy inside a VPN belongs.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from controlplane.model.protocols import TCP
from pe.filters.context import RenderContext
from pe.filters.core import OF_A_VPN, UNDER_A_LABEL
from pe.filters.edge import LINK_LOCAL, NOWHERE_4, TO_MANY
from pe.filters.host_sets import (
    connections,
    crossing_chain,
    has_speaker_users,
    is_limited,
    is_only_counted,
    large_links,
    on_link_ports,
    sessions,
)
from pe.filters.parts import FIRST, LAST, FilledSet, NamedChain, devices, dropped
from pe.model.guards import Guard
from pe.model.mark_code import CODE_MASK
from pe.nft.compiler import Statement
from pe.nft.fields import (
    CT_MARK,
    ICMPV6_TYPE,
    IIFNAME,
    IP6_DESTINATION,
    IP6_HOPS,
    IP6_SOURCE,
    IP_DESTINATION,
    IP_FRAGMENT,
    IP_SOURCE,
    IP_TTL,
    L4_PROTOCOL,
    MARK,
    OIFNAME,
    SDIFNAME,
    SOCKET_UID,
    SOURCE_TYPE,
    SOURCE_TYPE_AT_OUTPUT,
    TCP_DESTINATION,
    TCP_FLAGS,
    TCP_SOURCE,
)
from pe.nft.matches import (
    IS_FRAGMENT,
    NEW_CONNECTION,
    Masked,
    any_of,
    compare,
    equal,
    in_set,
    verdict_map,
    within,
)
from pe.nft.model import Chain, Hook, NamedSet, Rule
from pe.nft.names import name
from pe.nft.statements import (
    ACCEPT,
    NOT_TRACKED,
    RETURN,
    ConnectionsOver,
    LimitOver,
    MarkBits,
    Remember,
    SetZone,
    goto,
    jump,
)

BGP = 179
FRAGMENTED = 0x3FFF
"""More fragments, or an offset (RFC 791 section 3.1)."""
SYN, SYN_ACK = 0x02, 0x12
LOCAL = 2
"""RTN_LOCAL."""
DISCOVERY = (
    any_of(ICMPV6_TYPE, ("nd-neighbor-solicit", "nd-neighbor-advert")),
    equal(IP6_HOPS, 255),
)
ENDS = {4: (IP_SOURCE, IP_DESTINATION), 6: (IP6_SOURCE, IP6_DESTINATION)}


def chains(scope: RenderContext) -> Iterator[NamedChain]:
    """Every chain of the IP stack."""
    yield from _raw(scope)
    yield from _input(scope)
    for min_ttl in sorted({session.min_ttl for session in sessions(scope)}):
        yield _ttl(min_ttl)
    yield "bgp", Chain(tuple(_bgp()))
    yield from _limits(scope)
    yield from _on_link(scope)
    yield _forward(scope)
    yield from _crossed(scope)
    yield _output(scope)
    limited = verdict_map("limited_ports", OIFNAME)
    yield "to_ce", Chain(((limited,), *_on_link_jump(scope), (jump("tenant"),)))
    yield "tenant", Chain(((ACCEPT,),))


def _raw(scope: RenderContext) -> Iterator[NamedChain]:
    """Before connection tracking: what it is to follow, and in which zone."""
    unknown = (dropped("fail_01"),) if scope.on(Guard.UNKNOWN_PORT) else ()
    arrived = ((verdict_map("arrivals", IIFNAME),), *unknown)
    yield "zone_in", Chain((*_fragments(scope), *arrived), Hook("prerouting", FIRST))
    yield "fragments", Chain(tuple(_to_pe_in_pieces()))
    left = ((verdict_map("departures", OIFNAME),),)
    yield "zone_out", Chain((*_own_source(scope), *left), Hook("output", FIRST))
    yield "stateless", Chain(((NOT_TRACKED,), (ACCEPT,)))
    yield "pieces", Chain(tuple(_pieces()))
    yield "neighbour", Chain(tuple(_neighbour()))
    zones = {p.zone: p.vrf for p in scope.ce_ports if scope.is_tracked(p.vrf)}
    for zone, vrf in sorted(zones.items()):
        yield f"zone_{zone}", Chain(tuple(_zone(scope, zone, vrf)))


def _own_source(scope: RenderContext) -> Iterator[Rule]:
    """Towards a CE, what has the port's own address as source is the node's own and no business of
    a policy's: unless it came under a label (SPF-6)."""
    if scope.on(Guard.OWN_SOURCE):
        forged = (in_set("ce_ports", OIFNAME), equal(SOURCE_TYPE_AT_OUTPUT, "local"))
        yield Masked(MARK, UNDER_A_LABEL, "!=", 0), *forged, *dropped("spf_06")


def _fragments(scope: RenderContext) -> Iterator[Rule]:
    if scope.on(Guard.INPUT):
        yield Masked(IP_FRAGMENT, FRAGMENTED, "!=", 0), jump("fragments")
        yield IS_FRAGMENT, jump("fragments")


def _to_pe_in_pieces() -> Iterator[Rule]:
    """What ends here is put together before INPUT (ip_local_deliver), in memory that is one for
    all VRFs. From a remote site no edge guard looks at it before (CPP-7, DOS-8)."""
    of_a_vrf = in_set("vrfs", IIFNAME)
    yield in_set("own4", IIFNAME, IP_DESTINATION), *dropped("cpp_07")
    yield of_a_vrf, within(IP_DESTINATION, NOWHERE_4), *dropped("cpp_07")
    yield in_set("own6", IIFNAME, IP6_DESTINATION), *dropped("cpp_07")
    yield of_a_vrf, within(IP6_DESTINATION, (LINK_LOCAL, TO_MANY)), *dropped("cpp_07")


def _pieces() -> Iterator[Rule]:
    yield Masked(IP_FRAGMENT, FRAGMENTED, "!=", 0), NOT_TRACKED, ACCEPT
    yield IS_FRAGMENT, NOT_TRACKED, ACCEPT


def _neighbour() -> Iterator[Rule]:
    """A neighbour's SYNs are let in, and each would be tracked without a limit (CPP-5, T15)."""
    for version, ends in ENDS.items():
        yield in_set(f"neighbours{version}", IIFNAME, *ends), NOT_TRACKED, ACCEPT


def _zone(scope: RenderContext, zone: int, vrf: str) -> Iterator[Rule]:
    """By port, both ways: one way leaves replies invalid (T5)."""
    if scope.on(Guard.LIMITS):
        yield equal(TCP_DESTINATION, BGP), jump("neighbour")
        yield equal(TCP_SOURCE, BGP), jump("neighbour")
    if is_only_counted(scope, vrf):
        yield from _pieces()
    if scope.on(Guard.ZONES):
        yield (SetZone(zone),)


def _input(scope: RenderContext) -> Iterator[NamedChain]:
    if not scope.on(Guard.INPUT):
        return
    null_port = any(port.accept_explicit_null for port in scope.desired.core_ports.values())
    # What explicit null delivers seems to come from lo: otherwise never a bare accept (T9).
    local = () if null_port else (equal(SOURCE_TYPE, "local"),)
    core = in_set("core_ports", IIFNAME)
    rules: tuple[Rule, ...] = (
        # Neighbour discovery alone keeps the port as its device (vrf_ip6_rcv, ipv6_ndisc_frame).
        (in_set("ce_ports", IIFNAME), *DISCOVERY, ACCEPT),
        (in_set("vrfs", IIFNAME), jump("from_vpn")),
        (equal(IIFNAME, "lo"), *local, ACCEPT),
        *(
            (core, equal(end, BGP), verdict_map(f"core_sessions{version}", *ENDS[version]))
            for version in (4, 6)
            for end in (TCP_DESTINATION, TCP_SOURCE)
        ),
        (core, equal(TCP_DESTINATION, BGP), *dropped("acl_08")),  # from no configured peer
        (core, ACCEPT),
        (in_set("spare_ports", IIFNAME), ACCEPT),
        dropped("fail_01"),
    )
    yield "to_pe", Chain(rules, Hook("input", 0, "drop"))
    yield "from_vpn", Chain(tuple(_from_vpn(scope)))


def _from_vpn(scope: RenderContext) -> Iterator[Rule]:
    # A remote site, through the core: the port is the VRF itself (HIDE-7).
    yield from _counted_by_vrf(scope, (in_set("vrfs", SDIFNAME),), "hide_07")
    for version, ends in ENDS.items():
        yield (verdict_map(f"sessions{version}", SDIFNAME, *ends),)
    yield from _counted_by_vrf(scope, (), "acl_01")


def _counted_by_vrf(
    scope: RenderContext, match: tuple[Statement, ...], requirement: str
) -> Iterator[Rule]:
    for vrf in scope.vrfs:
        yield *match, equal(IIFNAME, vrf.name), *dropped(requirement, vrf.name)


def _ttl(min_ttl: int) -> NamedChain:
    """GTSM (RFC 5082): before any socket sees it, SYNs and closed ports included."""
    rules = (
        (compare(IP_TTL, "<", min_ttl), *dropped("bgp_03")),
        (compare(IP6_HOPS, "<", min_ttl), *dropped("bgp_03")),
    )
    return f"ttl_{min_ttl}", Chain((*(rules if min_ttl else ()), (goto("bgp"),)))


def _bgp() -> Iterator[Rule]:
    """Either side may have opened the connection, but who comes from port 179 may not open one:
    it would reach every port of ours. By flags, so that a VRF need not be tracked for it."""
    yield equal(TCP_DESTINATION, BGP), ACCEPT
    answers = (compare(TCP_DESTINATION, ">=", 1024), Masked(TCP_FLAGS, SYN_ACK, "!=", SYN))
    yield equal(TCP_SOURCE, BGP), *answers, ACCEPT
    yield dropped("acl_01")


def _limits(scope: RenderContext) -> Iterator[NamedChain]:
    """One count for both directions' hooks: a VRF's share of the one table for all (T15)."""
    for vrf in scope.vrfs:
        if not is_limited(scope, vrf.name):
            continue
        chain, rules = f"limit_{name(vrf.name)}", list[Rule]()
        if scope.is_judged(vrf.name):
            flows = f"flows_{name(vrf.name)}"
            yield chain, Chain(tuple(_judged(scope, vrf.name, goto(flows))))
            yield f"leak_{name(vrf.name)}", Chain(tuple(_judged(scope, vrf.name, RETURN)))
            chain = flows
        over = dropped("dos_01", vrf.name)
        if limit := vrf.conntrack_limit:
            rules.append((NEW_CONNECTION, ConnectionsOver(limit, connections(limit)), *over))
        if vrf.new_flows_per_second:
            rate = vrf.new_flows_per_second
            rules.append((NEW_CONNECTION, LimitOver(rate, 2 * rate), *over))
        yield chain, Chain(tuple(rules if scope.on(Guard.LIMITS) else ()))


def _crossed(scope: RenderContext) -> Iterator[NamedChain]:
    """Out of a VRF: what holds for it, then what holds for where it goes."""
    last: tuple[Rule, ...] = (*_on_link_jump(scope), (goto("tenant"),))
    leaking, ways_out = tuple(_leaks(scope)), tuple(_ways_out(scope))
    for vrf in scope.vrfs:
        if is_limited(scope, vrf.name):
            leaks = () if scope.is_judged(vrf.name) else leaking
            limit: Rule = (jump(f"limit_{name(vrf.name)}"),)
            yield crossing_chain(scope, vrf.name), Chain((limit, *ways_out, *leaks, *last))
    yield "from_vrf", Chain((*ways_out, *leaking, *last))
    back: Rule = (in_set("core_ports", OIFNAME), ACCEPT)
    yield "from_core", Chain((back, *_nowhere(scope)))


def _ways_out(scope: RenderContext) -> Iterator[Rule]:
    """By a port of the VRF, or into the core, where the port asks for a label
    (``pe.filters.core``): the routing tables may be flushed or wrong by now (ISO-15)."""
    if scope.on(Guard.WAYS_OUT):
        yield in_set("core_ports", OIFNAME), MarkBits(OF_A_VPN), goto("tenant")
        yield in_set("ways_out", IIFNAME, OIFNAME, negated=True), *dropped("iso_15")


def _nowhere(scope: RenderContext) -> Iterator[Rule]:
    if scope.on(Guard.UNKNOWN_PORT):
        yield dropped("fail_01")


def _judged(scope: RenderContext, vrf: str, then: Statement) -> Iterator[Rule]:
    """A policy is kept in a table of its own, earlier in the same hooks. What it allows has the
    code in its connection's mark, or in its own if it has no connection; without that table nothing
    new gets the code, and nothing passes. ``ct`` ends a rule where there is no connection."""
    yield Masked(CT_MARK, CODE_MASK, "==", scope.code.allowed), then
    yield compare(MARK, "!=", scope.code.passed), *dropped("fail_03", vrf)


def _leaks(scope: RenderContext) -> Iterator[Rule]:
    """Out of a VRF without policy straight into one that is under policy, where routes leak."""
    if any(scope.is_judged(vrf.name) for vrf in scope.vrfs):
        yield (verdict_map("judged_ports", OIFNAME),)


def _on_link_jump(scope: RenderContext) -> Iterator[Rule]:
    if on_link_ports(scope):
        yield (verdict_map("on_link_ports", OIFNAME),)


def _on_link(scope: RenderContext) -> Iterator[NamedChain]:
    """The neighbour table is one for all VRFs: who scans a link may fill a share of it only (T14).

    When the set is full ``update`` breaks off, and the packet falls through to the drop.
    """
    for port in on_link_ports(scope):
        rules = list[Rule]()
        for version, (_, destination) in ENDS.items():
            links, near = large_links(port, version), f"near{version}_{name(port.name)}"
            if links:
                match = within(destination, links)
                rules.append((match, Remember(destination, near), RETURN))
                rules.append((match, *dropped("dos_02", port.name)))
        yield f"on_link_{name(port.name)}", Chain(tuple(rules))


def _forward(scope: RenderContext) -> NamedChain:
    """Between VRFs only what routes say; out of the core into a VRF nothing (that is OUTPUT)."""
    policy = "drop" if scope.on(Guard.UNKNOWN_PORT) else "accept"
    crossing: Rule = (verdict_map("crossings", IIFNAME),)
    return "forwarded", Chain((crossing, *_nowhere(scope)), Hook("forward", LAST, policy))


def _output(scope: RenderContext) -> NamedChain:
    rules = list(_of_tunnels(scope))
    if has_speaker_users(scope) and scope.on(Guard.SPEAKERS):
        of_speaker = in_set("speaker_uids", SOCKET_UID)
        elsewhere = in_set("speakers", SOCKET_UID, OIFNAME, negated=True)
        rules.append((of_speaker, elsewhere, *dropped("bgp_14")))
        rules.append((of_speaker, compare(L4_PROTOCOL, "!=", TCP), *dropped("bgp_14")))
    # What the label table hands over for a CE passes here; what the PE says itself does not count.
    foreign = compare(SOURCE_TYPE_AT_OUTPUT, "!=", LOCAL)
    rules.append((in_set("ce_ports", OIFNAME), foreign, jump("to_ce")))
    return "sent", Chain((*rules, *_astray(scope)), Hook("output", LAST))


def _of_tunnels(scope: RenderContext) -> Iterator[Rule]:
    """The packets that carry those of CE ports that are tunnels: the node's own, with its address,
    by a core or management port. They still have the tunnel as device and its sender as socket, so
    their source is looked up in the tunnel's VRF, where it is not local, and BGP-14 and ISO-15
    would drop them. What any process sends by itself is looked up where it leaves."""
    if not any(map(scope.is_tunnel, scope.ce_ports)):
        return
    outer = (
        compare(L4_PROTOCOL, "!=", TCP),
        Masked(MARK, UNDER_A_LABEL, "==", 0),
        compare(SOURCE_TYPE, "!=", LOCAL),
    )
    sources: list[Statement] = [equal(SOURCE_TYPE_AT_OUTPUT, "local")]
    for version, (source, _) in ENDS.items():
        if own := scope.core_addresses(version):
            sources.append(any_of(source, sorted(own)))
    for ports in ("core_ports", "spare_ports"):
        for own_source in sources:
            yield in_set(ports, OIFNAME), *outer, own_source, ACCEPT


def _astray(scope: RenderContext) -> Iterator[Rule]:
    """What the label table hands over, or the PE says in a VRF, and no CE port takes: it has a
    source that is not the node's in the core (ISO-15). A new address is asked for from none."""
    if not scope.on(Guard.WAYS_OUT):
        return
    for source, none in ((IP_SOURCE, IPv4Address(0)), (IP6_SOURCE, IPv6Address(0))):
        of_a_vpn = (within(source, {none}, negated=True), compare(SOURCE_TYPE, "!=", LOCAL))
        yield in_set("core_ports", OIFNAME), *of_a_vpn, MarkBits(OF_A_VPN), ACCEPT
        yield in_set("spare_ports", OIFNAME), *of_a_vpn, *dropped("iso_15")


def arp(scope: RenderContext) -> tuple[list[NamedChain], list[FilledSet]]:
    """The ARP table's chain and sets: silence on ports that are not configured."""
    if not scope.on(Guard.UNKNOWN_PORT):
        return [], []
    desired = scope.desired
    known = devices({*desired.ce_ports, *desired.core_ports, "lo", *scope.spare_ports})
    unknown = (in_set("known", IIFNAME, negated=True), *dropped("fail_01"))
    received = Chain((unknown, (ACCEPT,)), Hook("input", 0, "drop"))
    return [("received", received)], [("known", NamedSet(("ifname",)), known)]
