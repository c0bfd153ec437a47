"""BGP-9, BGP-12, ISO-4, 5, 7 and INET-2: what crosses between a CE, the core and other VPNs."""

from __future__ import annotations

import ipaddress
import struct

from labs.attack import bgp, ip, plan
from labs.attack.edit import edited
from labs.attack.net import PROBE_PORT, Net, circuit
from labs.attack.port import Port, token
from labs.waiting import until
from tests.attack.speech import (
    AS,
    SECONDS,
    announce,
    both,
    core_route,
    done,
    exported,
    from_core,
    has,
    in_kernel,
    taken,
    to_pe,
)

RED = circuit("red", 1)
OWN = {4: "10.101.7.0/24", 6: "2001:db8:101:7::/64"}
BEHIND = {4: "10.101.8.0/24", 6: "2001:db8:101:8::/64"}


def test_bgp_09_private_ases_are_stripped_where_asked_for(net: Net) -> None:
    """Control first: without the wish the customer's own AS numbers are in the path."""

    def path_received() -> bytes:
        with from_core(bgp.VPNV4) as core, to_pe() as session:
            core.send(core_route("10.44.1.0/24", asns=(64999, 64998)))
            session.listen(SECONDS, lambda: "10.44.1.0/24" in bgp.announced(session))
            for body in session.bodies(bgp.UPDATE):
                if bgp.prefixes("10.44.1.0/24") in body:
                    return dict(bgp.attributes_of(body[4 : 4 + int.from_bytes(body[2:4])]))[2]
            raise AssertionError("it is not told")

    assert path_received() == bgp.as_path(plan.CORE_AS, 64999, 64998)
    mark = f'      "{plan.ce(1, 4)}":\n        asn: {AS}\n'
    with edited(net, lambda t: t.replace(mark, mark + "        remove-private-as: true\n", 1)):
        assert path_received() == bgp.as_path(plan.CORE_AS)


# -- BGP-12: RT constraint ------------------------------------------------------------------------


MEMBERSHIP = b"\x01\x04" + struct.pack("!HBB", 1, 0, 132)


def test_bgp_12_membership_is_never_taken_from_a_peer(net: Net) -> None:
    """Refuse to negotiate route-target constraint, with the core or with a CE (RFC 4684 section
    8); a CE that sends a membership of blue receives no route of blue."""
    membership = (1, 132)
    nlri = bytes([96]) + struct.pack("!I", AS) + bgp.target(plan.CORE_AS, 200)
    with from_core(bgp.VPNV4, membership) as core:
        (opening,) = core.bodies(bgp.OPEN)
        assert MEMBERSHIP not in opening
    with to_pe(families=(bgp.IPV4, membership)) as session, to_pe("blue") as blue:
        (opening,) = session.bodies(bgp.OPEN)
        assert MEMBERSHIP not in opening
        taken(net, blue, "10.101.11.0/24", vrf="blue")
        hop = ipaddress.ip_address(plan.ce(1, 4)).packed
        session.send(bgp.update(bgp.path(AS, "", bgp.mp_reach(membership, hop, nlri))))
        taken(net, session, BEHIND[4])  # a sentinel: the UPDATE before it has been read
        assert session.alive
        assert "10.101.11.0/24" not in bgp.announced(session)
        done(net, blue, "blue")


# -- ISO by BGP -----------------------------------------------------------------------------------

FOREIGN = {4: ("10.46.0.0/24", "10.47.0.0/24"), 6: ("2001:db8:46::/64", "2001:db8:47::/64")}


@both
def test_iso_04_only_what_is_imported(net: Net, version: int) -> None:
    """Advertise from a reflector a route of a VPN that pe1 does not have: it is in no table, not in
    the kernel, and not kept. Once its target is imported, pe1 sends a route refresh and receives it
    in the same session."""
    foreign, known = FOREIGN[version]
    with from_core() as session:
        session.send(core_route(foreign, target=999), core_route(known))
        assert until(lambda: has(net, "red", known), SECONDS), "control"
        assert until(lambda: in_kernel(known), SECONDS), "control"
        assert not in_kernel(foreign)
        assert not any(has(net, vrf, foreign) for vrf in ("red", "blue", "internet"))
        assert not has(net, "blue", known)
        assert received(net) == 1, "a route that no VRF imports is not in the Adj-RIB-In"
        refreshes = len(session.bodies(bgp.REFRESH))
        wanted = "    route-target: 65000:100\n"
        more = wanted + "    import-route-target: 65000:999\n"
        with edited(net, lambda text: text.replace(wanted, more, 1)):
            session.listen(SECONDS, lambda: len(session.bodies(bgp.REFRESH)) > refreshes)
            assert len(session.bodies(bgp.REFRESH)) > refreshes, "ROUTE-REFRESH"
            session.send(core_route(foreign, target=999))
            assert until(lambda: has(net, "red", foreign), SECONDS)
            assert until(lambda: in_kernel(foreign), SECONDS)
            assert session.alive
        assert until(lambda: not has(net, "red", foreign), SECONDS)
        assert until(lambda: received(net) == 1, SECONDS)
        assert session.alive
    assert until(lambda: not has(net, "red", known), SECONDS)


def received(net: Net) -> int:
    """How many routes of the reflector pe1 keeps."""
    reflector = next(
        n for n in net.pe1.show_neighbors(core_only=True) if n.address == "10.255.0.100"
    )
    return sum(family.received for family in reflector.families)


@both
def test_iso_05_a_ces_route_targets_count_for_nothing(net: Net, version: int) -> None:
    """Red's CE attaches blue's route target and the operator's communities: they are taken off,
    and only red's own target leaves."""
    evil = bgp.attribute(16, bgp.target(65000, 200) + bgp.site_of_origin(65000, 1))
    evil += bgp.attribute(32, struct.pack("!III", 65000, 1, 42))
    evil += bgp.attribute(8, struct.pack("!HH", 65000, 666) + struct.pack("!HH", AS, 1))
    prefix = OWN[version]
    with from_core() as reflector, to_pe("red", version) as session:
        session.send(announce(prefix, more=evil))
        assert until(lambda: has(net, "red", prefix), SECONDS)
        reflector.listen(SECONDS, lambda: exported(reflector, prefix))
        found = exported(reflector, prefix)
        assert found, "it is advertised to the core"
        assert found[16] == bgp.target(65000, 100)
        assert 32 not in found
        assert found[8] == struct.pack("!HH", AS, 1), "control: the customer's own stays"
        assert not has(net, "blue", prefix)


@both
def test_iso_07_a_ce_gets_no_vpn_families(net: Net, version: int) -> None:
    """A CE offers labelled, VPN and EVPN families and uses them all the same: they are not
    negotiated, and nothing of it is taken."""
    families = (bgp.IPV4, bgp.IPV6, bgp.VPNV4, bgp.VPNV6, (1, 4), (2, 4), (25, 70))
    route = {4: "10.101.42.0/24", 6: "2001:db8:101:42::/64"}[version]
    fam = bgp.VPNV4 if version == 4 else bgp.VPNV6
    with to_pe("red", version, families=families) as session:
        (opening,) = session.bodies(bgp.OPEN)
        for afi, safi in families[2:]:
            assert b"\x01\x04" + struct.pack("!HBB", afi, 0, safi) not in opening
        taken(net, session, OWN[version])
        hop = bgp.packed_next_hop(plan.ce(1, version), vpn=True)
        nlri = bgp.vpn_prefix(route, (65000, 102), net.label("blue"))
        target = bgp.attribute(16, bgp.target(65000, 200))
        session.send(bgp.update(bgp.path(AS, "", target, bgp.mp_reach(fam, hop, nlri))))
        taken(net, session, BEHIND[version])  # a sentinel: the UPDATE before it has been read
        assert session.alive, "a family that was not negotiated is ignored (RFC 4760 section 7)"
        assert not any(has(net, vrf, route) for vrf in ("red", "blue"))
    with to_pe("red", version) as session:
        done(net, session, "red", version)
        assert not any(has(net, vrf, route) for vrf in ("red", "blue"))


# -- INET-2 ---------------------------------------------------------------------------------------

SHARED = {4: "100.64.9.0/24", 6: "fd00:9::/64"}
UNIQUE = {4: "23.9.0.0/24", 6: "2a00:9::/64"}


@both
def test_inet_02_only_unique_prefixes_meet_the_internet(net: Net, version: int) -> None:
    """The Internet's VRF imports red. With ``internet: true`` it gets what is unique, and nothing
    of RFC 1918, RFC 6598 or ULA, which a packet from the Internet then does not reach."""
    private = {4: "10.1.0.0/24", 6: "2001:db8:1::/64"}[version]

    def imports(*lines: str) -> object:
        mark = "    route-target: 65000:300\n"
        more = mark + "    import-route-target: 65000:100\n" + "".join(lines)
        return lambda text: text.replace(mark, more, 1)

    def tried() -> tuple[set[str], bool]:
        with from_core() as core:
            core.send(core_route(SHARED[version]), core_route(UNIQUE[version]))
            assert until(lambda: has(net, "internet", UNIQUE[version]), SECONDS), "control"
            found = {p for p in (private, SHARED[version]) if has(net, "internet", p)}
            return found, from_the_internet(net, version)

    with edited(net, imports()):  # type: ignore[arg-type]
        assert tried() == ({private, SHARED[version]}, True), "control"
    with edited(net, imports("    internet: true\n")):  # type: ignore[arg-type]
        assert tried() == (set(), False)


def from_the_internet(net: Net, version: int) -> bool:
    """Return True if a packet of the Internet gets to red's first site."""
    from labs.attack import link

    host, port, mark = Port("internet", "eth0"), Port("pe1", "inet"), token()
    source = "198.51.100.1" if version == 4 else "2001:db8:99::1"
    packet = ip.udp(source, plan.lan(1, version), PROBE_PORT, mark)
    with RED.ce.tap() as tap:
        for _ in range(3):
            host.send(link.ethernet(port.mac, host.mac, link.ethertype(packet), packet))
            if tap.wait(mark, 1.0):
                return True
        net.sentinel(circuit("red", 1), version=version)
        return tap.count(mark) > 0
