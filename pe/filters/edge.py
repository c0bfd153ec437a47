"""The guard of a CE port, as near to the wire as nftables gets: netdev ingress and egress.

An allow-list by ethertype is what a label cannot slip past, with any tags around it (T6,
T7). ``ether type`` reads the frame as it came, so a VLAN tag, VID 0 included, is no match. A device
without Ethernet headers (tun, WireGuard, GRE) never matches ``ether type``: there the allow-list
is by ``meta protocol``, which is the protocol inside the outermost tag (skb_vlan_untag()), so a
label in a tag is none of the two either.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from controlplane.model.desired import CePort
from pe.filters.context import PORTS_AT_MOST, RenderContext, sources, to_many
from pe.filters.core import UNDER_A_LABEL
from pe.filters.parts import FilledSet, NamedChain, dropped
from pe.model.guards import Guard
from pe.nft.compiler import Statement
from pe.nft.fields import (
    ARP_SOURCE,
    ETHER_TYPE,
    ICMPV6_TYPE,
    IP6_DESTINATION,
    IP6_HOPS,
    IP6_NEXT,
    IP6_SOURCE,
    IP_DESTINATION,
    IP_FRAGMENT,
    IP_HEADER_LENGTH,
    IP_SOURCE,
    IP_TTL,
    PROTOCOL,
    ROUTING_TYPE,
    TCP_DESTINATION,
    TCP_SOURCE,
    VLAN_ID,
)
from pe.nft.matches import IS_FRAGMENT, Masked, Prefix, any_of, compare, equal, in_set, within
from pe.nft.model import Chain, Hook, NamedSet, Rule
from pe.nft.names import name
from pe.nft.statements import ACCEPT, LimitOver, MarkBits, goto

# RFC 1122 3.2.1.3, RFC 6890: never a source on the wire.
MARTIANS_4 = (IPv4Network("0.0.0.0/8"), IPv4Network("127.0.0.0/8"), IPv4Network("224.0.0.0/3"))
MARTIANS_6 = (IPv6Address("::1"), IPv6Network("::ffff:0:0/96"), IPv6Network("ff00::/8"))
# Nothing on a CE port listens to many; 240/4 and broadcast are no VPN destinations either.
NOWHERE_4 = MARTIANS_4
LINK_LOCAL, TO_MANY = IPv6Network("fe80::/10"), IPv6Network("ff00::/8")
NO_ADDRESS = IPv6Address("::")
# Named by number as well as by header: at this hook the kernel looks for IPv6 headers in the first
# piece of memory only (ipv6_find_hdr), and a sender on this machine decides how long that is.
FRAGMENT = 44
PROBE = IPv4Address(0)
"""The sender of an address probe (RFC 5227)."""
BGP = 179
FRAGMENTED = 0x3FFF
"""More fragments, or an offset (RFC 791 section 3.1)."""

ARP_RATE = LimitOver(50, 100)
BGP_RATE = LimitOver(2000, 1000)
NEIGHBOUR_RATE = LimitOver(100, 200)
OTHER_RATE = LimitOver(100, 100)
SOLICIT = any_of(ICMPV6_TYPE, ("nd-neighbor-solicit", "nd-neighbor-advert"))
ROUTERS_WORDS = any_of(ICMPV6_TYPE, ("nd-router-solicit", "nd-router-advert", "nd-redirect"))
SOURCES = {4: IP_SOURCE, 6: IP6_SOURCE}


def sets(scope: RenderContext) -> Iterator[FilledSet]:
    """Addresses that the rules compare with: of the core, of each VRF."""
    for version in (4, 6):
        kind = NamedSet((f"ipv{version}_addr",))
        yield f"core{version}", kind, {a.packed: b"" for a in scope.core_addresses(version)}
        for vrf, own in sorted(scope.vrf_addresses(version).items()):
            yield f"pe{version}_{name(vrf)}", kind, {address.packed: b"" for address in own}


def chains(scope: RenderContext) -> Iterator[NamedChain]:
    """Every chain of every CE port that is there."""
    tags = _tags_of_parents(scope)
    for port in scope.ce_ports:
        if port.name in scope.present:
            own = tags.get(port.name, ())
            is_bare = port.name in scope.bare
            if scope.on(Guard.EDGE):
                yield from _ingress(port, own, is_bare=is_bare)
            if scope.on(Guard.EGRESS):
                yield _egress(
                    port.name, own, to_many(port.addresses), is_bare=is_bare,
                    is_tunnel=scope.is_tunnel(port),
                )  # fmt: skip
    for parent in sorted(tags):
        ports = scope.desired.ce_ports.keys() | scope.desired.core_ports.keys()
        if parent in scope.present and parent not in ports and scope.on(Guard.EDGE):
            yield _trunk(parent, tags[parent])


Tags = tuple[int, ...]


def _tags_of_parents(scope: RenderContext) -> dict[str, Tags]:
    """Tags that pass at each port: those of VLAN ports on it, which have guards of their own."""
    found: dict[str, set[int]] = {}
    for port in scope.ce_ports:
        if port.parent:
            found.setdefault(port.parent, set()).add(port.vlan)
    return {parent: tuple(sorted(vlans, key=str)) for parent, vlans in found.items()}


@lru_cache(PORTS_AT_MOST)
def _ingress(port: CePort, tags: Tags, *, is_bare: bool) -> tuple[NamedChain, ...]:
    p, kind = name(port.name), PROTOCOL if is_bare else ETHER_TYPE
    ethernet: tuple[Rule, ...] = ((equal(ETHER_TYPE, "arp"), goto(f"arp_{p}")), *_tagged(tags))
    arrived = (
        (equal(kind, "ip"), goto(f"v4_{p}")),
        (equal(kind, "ip6"), goto(f"v6_{p}")),
        *(() if is_bare else ethernet),
        dropped("lbl_06", port.name),
    )
    arp = () if is_bare else ((f"arp_{p}", Chain(tuple(_arp(port)))),)
    bgp, discovery = dropped("cpp_01", port.name, "bgp"), dropped("cpp_01", port.name, "nd")
    return (
        (f"ce_{p}", Chain(arrived, Hook("ingress", -500, "drop", port.name))),
        *arp,
        (f"v4_{p}", Chain(tuple(_ipv4(port)))),
        (f"v6_{p}", Chain(tuple(_ipv6(port)))),
        (f"link_{p}", Chain(tuple(_link_local(port)))),
        (f"pe_{p}", Chain(tuple(_to_pe(port)))),
        # A chain of its own for each rate: one bucket a port, not one for the IPv4 and IPv6 rules.
        (f"bgp_{p}", Chain(((BGP_RATE, *bgp), (ACCEPT,)))),
        (f"nd_{p}", Chain(((NEIGHBOUR_RATE, *discovery), (ACCEPT,)))),
    )


def _tagged(tags: Tags) -> Iterator[Rule]:
    if tags:
        yield equal(ETHER_TYPE, "8021q"), any_of(VLAN_ID, tags), ACCEPT


def _arp(port: CePort) -> Iterator[Rule]:
    """A host may ask with every address that it may send from, with a loopback's for one."""
    foreign = dropped("spf_04", port.name)
    yield in_set(f"pe4_{name(port.vrf)}", ARP_SOURCE), *foreign
    yield in_set("core4", ARP_SOURCE), *foreign
    if port.sources is not None:
        yield within(ARP_SOURCE, {PROBE, *sources(port, 4)}, negated=True), *foreign
    yield ARP_RATE, *dropped("cpp_01", port.name, "arp")
    yield (ACCEPT,)


def _ipv4(port: CePort) -> Iterator[Rule]:
    own, forged = f"pe4_{name(port.vrf)}", dropped("spf_01", port.name)
    yield compare(IP_HEADER_LENGTH, ">", 5), *dropped("hide_04", port.name)
    yield within(IP_SOURCE, MARTIANS_4), *forged
    yield in_set("core4", IP_SOURCE), *dropped("acl_05", port.name)
    yield in_set(own, IP_SOURCE), *forged
    yield from _foreign_sources(port, 4)
    yield within(IP_DESTINATION, NOWHERE_4), *dropped("acl_06", port.name)
    yield in_set(own, IP_DESTINATION), goto(f"pe_{name(port.name)}")
    yield (ACCEPT,)


def _foreign_sources(port: CePort, version: int) -> Iterator[Rule]:
    """The ranges stand in the rule and not in a named set: while such a set is flushed and filled
    again, the kernel finds addresses between two ranges in it, if old and new elements lie side
    by side in its tree (nft_rbtree_lookup, Linux 6.12)."""
    if port.sources is None:
        return
    own = sources(port, version)
    match: tuple[Statement, ...] = (within(SOURCES[version], own, negated=True),) if own else ()
    yield *match, *dropped("spf_02", port.name)


def _ipv6(port: CePort) -> Iterator[Rule]:
    p, own = name(port.name), f"pe6_{name(port.vrf)}"
    hidden, forged = dropped("hide_04", port.name), dropped("spf_01", port.name)
    yield equal(IP6_NEXT, 0), *hidden
    yield equal(ROUTING_TYPE, 0), *hidden
    yield within(IP6_SOURCE, MARTIANS_6), *forged
    yield in_set("core6", IP6_SOURCE), *dropped("acl_05", port.name)
    yield in_set(own, IP6_SOURCE), *forged
    yield ROUTERS_WORDS, *dropped("acl_06", port.name)
    yield within(IP6_SOURCE, (NO_ADDRESS, LINK_LOCAL)), goto(f"link_{p}")
    yield from _foreign_sources(port, 6)
    yield within(IP6_DESTINATION, (LINK_LOCAL, TO_MANY)), goto(f"link_{p}")
    yield in_set(own, IP6_DESTINATION), goto(f"pe_{p}")
    yield (ACCEPT,)


def _link_local(port: CePort) -> Iterator[Rule]:
    """From or to the link itself: neighbour discovery, and what a session may be spoken over."""
    p, nothing = name(port.name), dropped("acl_06", port.name)
    yield from _ipv6_fragments(port.name)
    yield SOLICIT, equal(IP6_HOPS, 255), goto(f"nd_{p}")
    yield equal(IP6_SOURCE, NO_ADDRESS), *nothing
    yield Prefix(IP6_DESTINATION, TO_MANY), *nothing
    yield Prefix(IP6_DESTINATION, LINK_LOCAL), goto(f"pe_{p}")
    yield in_set(f"pe6_{name(port.vrf)}", IP6_DESTINATION), goto(f"pe_{p}")
    yield dropped("spf_01", port.name)


def _ipv6_fragments(port: str) -> Iterator[Rule]:
    yield equal(IP6_NEXT, FRAGMENT), *dropped("cpp_02", port)
    yield IS_FRAGMENT, *dropped("cpp_02", port)


def _to_pe(port: CePort) -> Iterator[Rule]:
    """For the PE itself. Who may is decided in INPUT; here, how often anybody may try."""
    p = name(port.name)
    # Before connection tracking puts fragments together (RFC 6192 section 3.1).
    yield Masked(IP_FRAGMENT, FRAGMENTED, "!=", 0), *dropped("cpp_02", port.name)
    yield from _ipv6_fragments(port.name)
    yield equal(TCP_DESTINATION, BGP), goto(f"bgp_{p}")
    yield equal(TCP_SOURCE, BGP), goto(f"bgp_{p}")
    yield SOLICIT, goto(f"nd_{p}")
    yield OTHER_RATE, *dropped("cpp_01", port.name, "other")
    yield (ACCEPT,)


@lru_cache(PORTS_AT_MOST)
def _egress(
    port: str, tags: Tags, many: tuple[IPv4Address, ...], *, is_bare: bool, is_tunnel: bool
) -> NamedChain:
    """No label leaves to a CE (LBL-9), and nothing whose TTL ran out at the label's end: the
    kernel decrements it there without a look (HIDE-2). For IPv6 redirects there is no setting
    (ip6_forward sends them), so they are stopped here (HIDE-9). What comes under a label for the
    link's broadcast address the kernel sends to all hosts of the link, without asking
    ``bc_forwarding`` (SPF-5).

    A tunnel's packet gets the mark of the one in it, but did not come under a label itself."""
    kind, expired = PROTOCOL if is_bare else ETHER_TYPE, dropped("hide_02", port)
    four, six = equal(kind, "ip"), equal(kind, "ip6")
    to_all = ((four, any_of(IP_DESTINATION, many), *dropped("spf_05", port)),) if many else ()
    arp: tuple[Rule, ...] = () if is_bare else ((equal(ETHER_TYPE, "arp"), ACCEPT),)
    rules = (
        *(((MarkBits(UNDER_A_LABEL, cleared=True),),) if is_tunnel else ()),
        *arp,
        (four, equal(IP_TTL, 0), *expired),
        *to_all,
        (four, ACCEPT),
        (six, equal(IP6_HOPS, 0), *expired),
        (equal(ICMPV6_TYPE, "nd-redirect"), *dropped("hide_09", port)),
        (six, ACCEPT),
        *(() if is_bare else _tagged(tags)),
        dropped("lbl_09", port),
    )
    return f"out_{name(port)}", Chain(rules, Hook("egress", 500, "drop", port))


@lru_cache(PORTS_AT_MOST)
def _trunk(parent: str, tags: Tags) -> NamedChain:
    """A port that carries VLAN ports and is none itself: their tags and nothing else (ISO-12)."""
    rules = (*_tagged(tags), dropped("iso_12", parent))
    return f"trunk_{name(parent)}", Chain(rules, Hook("ingress", -500, "drop", parent))
