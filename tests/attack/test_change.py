"""Requirements that hold while the configuration changes: ISO-6, ISO-11, ACL-7, HIDE-8, MGMT-8."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labs.attack import bgp, ip, link, plan
from labs.attack.edit import edited, with_vrf
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Net, circuit
from labs.attack.port import Port, token
from labs.attack.spoof import spoofed
from labs.waiting import until
from tests.attack.speech import FAMILIES, announce, both
from tests.attack.trial import Attack, arrives, held

RED, FAR, NEAR = circuit("red", 1), circuit("red", 2), circuit("red", 3)
PLUG, SPARE, CORE = Port("plug", "eth0"), Port("pe1", "spare0"), Port("pe1", "core0")


def is_up(port: str) -> bool:
    return ",UP" in run_in("pe1", "ip", "-o", "link", "show", "dev", port)


def address(*addresses: str) -> None:
    """Addresses of the plug's end."""
    run_in("plug", "ip", "addr", "flush", "dev", "eth0")
    for text in addresses:
        more = ("nodad",) if ":" in text else ()
        run_in("plug", "ip", "addr", "add", text, "dev", "eth0", *more)


def test_iso_11_a_freed_label_is_held_down(net: Net) -> None:
    """Violet goes, green comes at once: green gets another label, and violet's leads nowhere."""
    address("192.168.7.2/30")
    with edited(net, lambda text: text + with_vrf("violet", 8)):
        assert until(lambda: is_up("spare0"), 30.0)
        old = net.label("violet")
        frames = spoofed(net.p, CORE.mac, [old], target="10.7.0.1")
        assert arrives(net, Attack(net.p, frames, PLUG, RED)), "control: violet's label"
    with edited(net, lambda text: text + with_vrf("green", 9)):
        assert until(lambda: any(v.name == "green" for v in net.pe1.show_vrfs()), 10.0)
        assert until(lambda: is_up("spare0"), 30.0)
        assert net.label("green") != old
        held(net, Attack(net.p, frames, PLUG, RED))
        held_down = [e for e in net.pe1.show_labels() if e.label == old]
        assert [e.state for e in held_down] == [held_down[0].STATE_HOLD_DOWN]
    assert until(lambda: not is_up("spare0"), 30.0)


NEIGHBOR = f"""      "192.168.3.2":
        asn: 65103
        md5: {plan.KEYS["red"]}
        hold-time: 600
        import: [10.3.0.0/16 le 24]
        export: any
"""


def with_neighbor(text: str) -> str:
    """ce-red-3 becomes a BGP neighbour."""
    mark = '      "192.168.1.2":\n        asn: 65101'
    return text.replace(mark, NEIGHBOR + mark, 1)


NEIGHBOR6 = NEIGHBOR.replace("192.168.3.2", "2001:db8:f3::2").replace(
    "10.3.0.0/16 le 24", '"2001:db8:3::/48 le 64"'
)


def with_neighbor6(text: str) -> str:
    """Return the same in IPv6."""
    return with_neighbor(text).replace(NEIGHBOR, NEIGHBOR6, 1)


def admitted(version: int) -> bool:
    """Return True while pe1's guard lets ce-red-3 come to port 179."""
    listed = run_in("pe1", "nft", "list", "map", "inet", "bulkhead", f"sessions{version}")
    return f"{plan.ce(3, version)} . {plan.gateway(3, version)}" in listed


@pytest.mark.parametrize("version", [4, 6])
def test_acl_07_a_neighbour_comes_and_goes_with_its_admission(net: Net, version: int) -> None:
    """Drop ce-red-3's packets to port 179 before it is configured as neighbour and after it is
    removed: its filter entry is added before the session, and removed after its NOTIFICATION."""
    family = bgp.IPV4 if version == 4 else bgp.IPV6
    ends = ("ce-red-3", plan.ce(3, version), plan.gateway(3, version))
    key = plan.KEYS["red"]
    assert not admitted(version)
    assert bgp.connect(*ends, md5=key, seconds=1.0) is None
    with edited(net, with_neighbor if version == 4 else with_neighbor6):
        greeting = bgp.Greeting(65103, families=(family,))
        session = bgp.establish(*ends, greeting, md5=key, seconds=30.0)
        assert admitted(version)
    with session:
        assert session.ended(30.0) == (6, 3), "told before its admission went"
    assert until(lambda: not admitted(version), 10.0)
    before = net.dropped("", "ACL-1")
    assert bgp.connect(*ends, md5=key, seconds=1.0) is None
    assert net.dropped("", "ACL-1") > before


UNNUMBERED = """  violet:
    rd: 65000:108
    route-target: 65000:800
    ports:
      spare0:
        source-prefixes: [10.7.0.0/24, "2001:db8:7::/64"]
    static-routes:
      - {prefix: 10.7.0.0/24, port: spare0}
      - {prefix: "2001:db8:7::/64", port: spare0}
"""


def test_hide_08_a_port_without_an_address(net: Net) -> None:
    """Nothing of the PE can be asked there, not even for its address; the site is reached."""
    address("10.7.0.1/24", "2001:db8:7::1/64")
    run_in("plug", "ip", "route", "replace", "default", "dev", "eth0")
    with edited(net, lambda text: text + UNNUMBERED):
        assert until(lambda: is_up("spare0"), 30.0)
        label = net.label("violet")
        for version, target in ((4, "10.7.0.1"), (6, "2001:db8:7::1")):
            frames = spoofed(net.p, CORE.mac, [label], version, target=target)
            assert until(lambda f=frames: arrives(net, Attack(net.p, f, PLUG, RED)), 10.0)  # type: ignore[misc]
        with PLUG.tap() as tap:
            for wanted in ("10.255.0.1", "192.168.1.1", "10.0.1.1", "10.7.0.254"):
                question = link.arp(1, PLUG.mac, "10.7.0.1", wanted)
                PLUG.send(link.ethernet(link.BROADCAST, PLUG.mac, link.ARP, question))
                packet = ip.echo("10.7.0.1", wanted, b"x")
                PLUG.send(link.ethernet(SPARE.mac, PLUG.mac, link.IPV4, packet))
            net.sentinel(RED)
            answers = [f for f in tap.frames() if f[12:14] == b"\x08\x06" and f[21] == 2]
            assert answers == []
            echoes = [f for f in tap.frames() if f[12:14] == b"\x08\x00" and f[34] == 0]
            assert echoes == []
    assert until(lambda: not is_up("spare0"), 30.0)


@both
def test_iso_06_a_route_does_not_return_to_its_site(net: Net, version: int) -> None:
    """Two CEs of one site, on one site of origin: what one says the other is not told
    (RFC 4364 section 8)."""

    change = with_neighbor if version == 4 else with_neighbor6
    route, other_site = SITES[version]

    def same_site(text: str) -> str:
        text = change(text)
        for asn in (65101, 65103):
            own = f"        asn: {asn}\n"
            text = text.replace(own, own + "        site-of-origin: 65000:77\n")
        return text

    def told(configured: Callable[[str], str]) -> bool:
        greetings = {n: bgp.Greeting(n, families=(FAMILIES[version],)) for n in (65101, 65103)}
        with edited(net, configured):
            first, other = (
                bgp.establish(
                    f"ce-red-{site}", plan.ce(site, version), plan.gateway(site, version),
                    greetings[asn], md5=plan.KEYS["red"], seconds=30.0,
                )
                for site, asn in ((3, 65103), (1, 65101))
            )  # fmt: skip
            with first, other:
                other.send(announce(route))
                # The sentinel: a route of another site comes behind it.
                first.listen(10.0, lambda: other_site in bgp.announced(first))
                first.listen(3.0, lambda: route in bgp.announced(first))
                return route in bgp.announced(first)

    assert told(change), "control: between different sites it is advertised"
    assert not told(same_site)


SITES = {
    4: ("10.101.60.0/24", "10.2.0.0/24"),
    6: ("2001:db8:101:60::/64", "2001:db8:2::/64"),
}


def test_mgmt_08_a_management_vpn(net: Net) -> None:
    """Two route targets (RFC 4364 section 12): the managing VPN and a CE see each other, two CEs
    do not see each other through it."""

    def managed(text: str) -> str:
        text = text + with_vrf("manager", 8).replace(
            "    route-target: 65000:800\n",
            "    import-route-target: [65000:100, 65000:200]\n    export-route-target: 65000:801\n",
        )
        for number in (1, 2):
            own = f"    route-target: 65000:{number}00\n"
            text = text.replace(own, own + "    import-route-target: 65000:801\n", 1)
        return text

    address("192.168.7.2/30", "10.7.0.1/32")
    run_in("plug", "ip", "route", "replace", "default", "via", "192.168.7.1", check=False)
    with edited(net, managed):
        assert until(lambda: is_up("spare0"), 30.0)
        route = {r.prefix for r in net.pe1.show_routes("manager")}
        assert "10.4.0.0/24" in route, "red's site 4"
        assert "10.5.0.0/24" in route, "blue's site 5"
        for vpn in ("red", "blue"):
            assert any(r.prefix == "10.7.0.0/24" for r in net.pe1.show_routes(vpn))
        trunk, mark = Port("trunk", "eth0"), token()
        with trunk.tap() as tap:
            RED.ce.send(RED.frame(ip.udp(plan.lan(1, 4), "10.5.0.1", PROBE_PORT, mark)))
            net.sentinel(RED)
            assert tap.count(mark) == 0, "red does not reach blue's site through it"
    assert until(lambda: not is_up("spare0"), 30.0)
