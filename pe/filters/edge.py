"""The guard of a CE port, as near to the wire as nftables gets: netdev ingress and egress.

An allow-list by ethertype is what a label cannot slip past, whatever tags are around it (T6,
T7). ``ether type`` reads the frame as it came, so a VLAN tag, VID 0 included, is no match.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.desired import CePort
from pe.filters.context import RenderContext, sources
from pe.model.guards import Guard
from pe.nft.text_model import Chain, NamedSet, braces, dropped, name, quoted

# RFC 1122 3.2.1.3, RFC 6890: never a source on the wire.
MARTIANS_4 = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
MARTIANS_6 = ("::1", "::ffff:0:0/96", "ff00::/8")
# Nothing on a CE port listens to many; 240/4 and broadcast are no VPN destinations either.
NOWHERE_4 = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
# Named by number as well as by header: at this hook the kernel looks for IPv6 headers in the first
# piece of memory only (ipv6_find_hdr), and a sender on this machine decides how long that is.
FRAGMENT = 44
PROBE = "0.0.0.0"  # noqa: S104 - the sender of an address probe (RFC 5227), nothing to bind to

ARP_RATE = "limit rate over 50/second burst 100 packets"
BGP_RATE = "limit rate over 2000/second burst 1000 packets"
NEIGHBOUR_RATE = "limit rate over 100/second burst 200 packets"
OTHER_RATE = "limit rate over 100/second burst 100 packets"


def sets(scope: RenderContext) -> Iterator[NamedSet]:
    """Addresses that the rules compare with: of the core, of each VRF."""
    for version in (4, 6):
        kind = f"type ipv{version}_addr"
        yield NamedSet(f"core{version}", kind, scope.core_addresses(version))
        for vrf in scope.vrfs:
            own = scope.vrf_addresses(vrf.name, version)
            yield NamedSet(f"pe{version}_{name(vrf.name)}", kind, own)


def chains(scope: RenderContext) -> Iterator[Chain]:
    """Every chain of every CE port that is there."""
    for port in scope.ce_ports:
        if port.name in scope.present:
            if scope.on(Guard.EDGE):
                yield from _ingress(scope, port)
            if scope.on(Guard.EGRESS):
                yield _egress(scope, port)
    for parent in sorted({port.parent for port in scope.ce_ports if port.parent}):
        ports = {*scope.desired.ce_ports, *scope.desired.core_ports}
        if parent in scope.present and parent not in ports and scope.on(Guard.EDGE):
            yield _trunk(scope, parent)


def _ingress(scope: RenderContext, port: CePort) -> Iterator[Chain]:
    p = name(port.name)
    yield Chain(
        f"ce_{p}",
        (
            f"ether type ip goto v4_{p}",
            f"ether type ip6 goto v6_{p}",
            f"ether type arp goto arp_{p}",
            *_tags(scope, port.name),
            dropped("lbl_06", port.name),
        ),
        f"type filter hook ingress device {quoted(port.name)} priority -500; policy drop;",
    )
    yield Chain(f"arp_{p}", tuple(_arp(port)))
    yield Chain(f"v4_{p}", tuple(_ipv4(port)))
    yield Chain(f"v6_{p}", tuple(_ipv6(port)))
    yield Chain(f"link_{p}", tuple(_link_local(port)))
    yield Chain(f"pe_{p}", tuple(_to_pe(port)))
    # A chain of its own for each rate: one bucket a port, not one for the IPv4 and IPv6 rules.
    yield Chain(f"bgp_{p}", (f"{BGP_RATE} {dropped('cpp_01', port.name, 'bgp')}", "accept"))
    yield Chain(f"nd_{p}", (f"{NEIGHBOUR_RATE} {dropped('cpp_01', port.name, 'nd')}", "accept"))


def _tags(scope: RenderContext, parent: str) -> Iterator[str]:
    """Tags that pass: those of VLAN ports on this one, which have guards of their own."""
    vlans = {port.vlan for port in scope.ce_ports if port.parent == parent}
    if vlans:
        yield f"ether type 8021q vlan id {braces(vlans)} accept"


def _arp(port: CePort) -> Iterator[str]:
    """Whoever may send from an address may ask with it: hosts do, with a loopback's for one."""
    yield f"arp saddr ip @pe4_{name(port.vrf)} {dropped('spf_04', port.name)}"
    yield f"arp saddr ip @core4 {dropped('spf_04', port.name)}"
    if port.sources is not None:
        known = braces({PROBE, *sources(port, 4)})
        yield f"arp saddr ip != {known} {dropped('spf_04', port.name)}"
    yield f"{ARP_RATE} {dropped('cpp_01', port.name, 'arp')}"
    yield "accept"


def _ipv4(port: CePort) -> Iterator[str]:
    own = f"@pe4_{name(port.vrf)}"
    yield f"ip hdrlength > 5 {dropped('hide_04', port.name)}"
    yield f"ip saddr {braces(MARTIANS_4)} {dropped('spf_01', port.name)}"
    yield f"ip saddr @core4 {dropped('acl_05', port.name)}"
    yield f"ip saddr {own} {dropped('spf_01', port.name)}"
    yield from _foreign_sources(port, 4)
    yield f"ip daddr {braces(NOWHERE_4)} {dropped('acl_06', port.name)}"
    yield f"ip daddr {own} goto pe_{name(port.name)}"
    yield "accept"


def _foreign_sources(port: CePort, version: int) -> Iterator[str]:
    """The ranges stand in the rule and not in a named set: while such a set is flushed and filled
    again, the kernel finds addresses between two ranges in it, if old and new elements lie side
    by side in its tree (nft_rbtree_lookup, Linux 6.12)."""
    if port.sources is None:
        return
    own, keyword = sources(port, version), "ip" if version == 4 else "ip6"
    match = f"{keyword} saddr != {braces(own)} " if own else ""
    yield f"{match}{dropped('spf_02', port.name)}"


def _ipv6(port: CePort) -> Iterator[str]:
    p, own = name(port.name), f"@pe6_{name(port.vrf)}"
    yield f"ip6 nexthdr 0 {dropped('hide_04', port.name)}"
    yield f"rt type 0 {dropped('hide_04', port.name)}"
    yield f"ip6 saddr {braces(MARTIANS_6)} {dropped('spf_01', port.name)}"
    yield f"ip6 saddr @core6 {dropped('acl_05', port.name)}"
    yield f"ip6 saddr {own} {dropped('spf_01', port.name)}"
    yield (
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-redirect } "
        f"{dropped('acl_06', port.name)}"
    )
    yield f"ip6 saddr {{ ::, fe80::/10 }} goto link_{p}"
    yield from _foreign_sources(port, 6)
    yield f"ip6 daddr {{ fe80::/10, ff00::/8 }} goto link_{p}"
    yield f"ip6 daddr {own} goto pe_{p}"
    yield "accept"


def _link_local(port: CePort) -> Iterator[str]:
    """From or to the link itself: neighbour discovery, and what a session may be spoken over."""
    p = name(port.name)
    yield f"ip6 nexthdr {FRAGMENT} {dropped('cpp_02', port.name)}"
    yield f"exthdr frag exists {dropped('cpp_02', port.name)}"
    yield (
        f"icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 goto nd_{p}"
    )
    yield f"ip6 saddr :: {dropped('acl_06', port.name)}"
    yield f"ip6 daddr ff00::/8 {dropped('acl_06', port.name)}"
    yield f"ip6 daddr fe80::/10 goto pe_{p}"
    yield f"ip6 daddr @pe6_{name(port.vrf)} goto pe_{p}"
    yield dropped("spf_01", port.name)


def _to_pe(port: CePort) -> Iterator[str]:
    """For the PE itself. Who may is decided in INPUT; here, how often anybody may try."""
    p = name(port.name)
    # Before connection tracking puts fragments together (RFC 6192 section 3.1).
    yield f"ip frag-off & 0x3fff != 0 {dropped('cpp_02', port.name)}"
    yield f"ip6 nexthdr {FRAGMENT} {dropped('cpp_02', port.name)}"
    yield f"exthdr frag exists {dropped('cpp_02', port.name)}"
    yield f"tcp dport 179 goto bgp_{p}"
    yield f"tcp sport 179 goto bgp_{p}"
    yield f"icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} goto nd_{p}"
    yield f"{OTHER_RATE} {dropped('cpp_01', port.name, 'other')}"
    yield "accept"


def _egress(scope: RenderContext, port: CePort) -> Chain:
    """No label leaves to a CE (LBL-9), and nothing whose TTL ran out at the label's end: the
    kernel decrements it there without a look (HIDE-2). For IPv6 redirects there is no setting
    (ip6_forward sends them), so they are stopped here (HIDE-9)."""
    return Chain(
        f"out_{name(port.name)}",
        (
            "ether type arp accept",
            f"ether type ip ip ttl 0 {dropped('hide_02', port.name)}",
            "ether type ip accept",
            f"ether type ip6 ip6 hoplimit 0 {dropped('hide_02', port.name)}",
            f"icmpv6 type nd-redirect {dropped('hide_09', port.name)}",
            "ether type ip6 accept",
            *_tags(scope, port.name),
            dropped("lbl_09", port.name),
        ),
        f"type filter hook egress device {quoted(port.name)} priority 500; policy drop;",
    )


def _trunk(scope: RenderContext, parent: str) -> Chain:
    """A port that carries VLAN ports and is none itself: their tags and nothing else (ISO-12)."""
    return Chain(
        f"trunk_{name(parent)}",
        (*_tags(scope, parent), dropped("iso_12", parent)),
        f"type filter hook ingress device {quoted(parent)} priority -500; policy drop;",
    )
