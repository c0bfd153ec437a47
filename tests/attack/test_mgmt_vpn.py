"""MGMT-8: a management VPN as a configuration (RFC 4364 section 12).

The provider's NOC is a hub, each managed CE a spoke: what a spoke exports carries the route target
that the hub alone imports, what the hub exports the one that every spoke imports. No feature of its
own is needed, and none of the spokes learns of another.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from labs.attack.edit import edited
from labs.attack.inside import run_in
from labs.attack.net import Net
from labs.waiting import until

SPOKES, HUB = "65000:901", "65000:900"
ENDS = {"noc": "192.0.2.1", "cpe1": "192.0.2.11", "cpe2": "192.0.2.12"}
LINKS = {"noc": "198.51.100.0", "cpe1": "198.51.100.4", "cpe2": "198.51.100.8"}


def gateway(name: str) -> str:
    return LINKS[name][:-1] + str(int(LINKS[name].rpartition(".")[2]) + 1)


def own(name: str) -> str:
    return LINKS[name][:-1] + str(int(LINKS[name].rpartition(".")[2]) + 2)


def vrf(name: str, number: int, imported: str, exported: str) -> str:
    """Return the hub or a spoke: its one address is a host route, a loopback as a CE has one."""
    return f"""\
  vpn-{name}:
    rd: 65000:{number}
    import-route-target: {imported}
    export-route-target: {exported}
    ports:
      m-{name}: {{addresses: [{gateway(name)}/30]}}
    static-routes:
      - {{prefix: {ENDS[name]}/32, via: {own(name)}}}
"""


VRFS = vrf("noc", 910, SPOKES, HUB) + vrf("cpe1", 911, HUB, SPOKES) + vrf("cpe2", 912, HUB, SPOKES)


def _sh(command: str, *, check: bool = True) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def managed_vpn(net: Net) -> Iterator[None]:
    try:
        for name, address in ENDS.items():
            _sh(f"ip netns add m-{name}")
            _sh(f"ip link add m-{name} netns pe1 type veth peer name eth0 netns m-{name}")
            _sh(f"ip -n m-{name} link set lo up")
            _sh(f"ip -n m-{name} addr add {address}/32 dev lo")
            _sh(f"ip -n m-{name} addr add {own(name)}/30 dev eth0")
            _sh(f"ip -n m-{name} link set eth0 up")
            _sh(f"ip -n m-{name} route add default via {gateway(name)} src {address}")
        with edited(net, lambda text: text + VRFS):
            yield
    finally:
        for name in ENDS:
            _sh(f"ip -n pe1 link del m-{name}", check=False)
            _sh(f"ip netns del m-{name}", check=False)


def pings(origin: str, target: str) -> bool:
    said = run_in(f"m-{origin}", "ping", "-c1", "-W1", ENDS[target], check=False)
    return " 1 received" in said


def prefixes(net: Net, name: str) -> set[str]:
    return {r.prefix for r in net.pe1.show_routes(f"vpn-{name}") if r.active}


def test_mgmt_08_the_noc_reaches_every_ce_and_no_ce_another(net: Net, managed_vpn: None) -> None:
    hosts = {name: f"{address}/32" for name, address in ENDS.items()}
    for spoke in ("cpe1", "cpe2"):
        assert until(lambda spoke=spoke: pings("noc", spoke), 60.0, every=0.5), spoke  # type: ignore[misc]
        assert until(lambda spoke=spoke: pings(spoke, "noc"), 10.0), spoke  # type: ignore[misc]
    everything = set(hosts.values())
    assert prefixes(net, "noc") & everything == everything
    assert prefixes(net, "cpe1") & everything == {hosts["cpe1"], hosts["noc"]}
    assert prefixes(net, "cpe2") & everything == {hosts["cpe2"], hosts["noc"]}
    assert not pings("cpe1", "cpe2")
    assert not pings("cpe2", "cpe1")
    for vpn in ("red", "blue"):
        known = {r.prefix for r in net.pe1.show_routes(vpn)}
        assert known & everything == set(), vpn


def test_mgmt_08_control_with_one_route_target_they_would_meet(net: Net, managed_vpn: None) -> None:
    """The same VRFs as an ordinary VPN: CE reaches CE. Two targets are what keeps them apart."""

    def joined(text: str) -> str:
        return text.replace(
            f"import-route-target: {HUB}", f"import-route-target: [{HUB}, {SPOKES}]"
        )

    with edited(net, joined):
        assert until(lambda: pings("cpe1", "cpe2"), 60.0, every=0.5)
