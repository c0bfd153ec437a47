"""The hosts of the company that the lab `segments` is about: addresses, servers, ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labs import reflected
from labs.company import command as company
from labs.peers.frr import programs as frr
from labs.reflected import MD5
from labs.topology import Program

OFFICE, OFFICE_ASN = "203.0.113.0/24", 65140
OFFICE_NET = 40
STOLEN, ITS_OWN = "65000:1:104", "64999:1:5"
"""Large communities that the office's router puts on its route: the group of payroll, which is
not its to give, and one that means nothing to us."""


@dataclass(frozen=True)
class Host:
    """A host: its number makes its addresses. ``links`` are the PEs that it has a cable to."""

    name: str
    number: int
    links: tuple[int, ...]
    programs: tuple[Program, ...] = ()
    vrf: str = "red"
    home: str = ""

    @property
    def v4(self) -> str:
        """Its address, the same wherever it is."""
        return self.home or f"10.1.0.{self.number}"

    @property
    def v6(self) -> str:
        """Its IPv6 address."""
        return f"2001:db8:1::{self.number}"

    @property
    def port(self) -> str:
        """The name of its port at a PE."""
        return f"ce-{self.name}"

    def net(self, pe: int) -> int:
        """The third number of its link's addresses."""
        shift = 100 if self.vrf == "blue" else 0
        return self.number + shift + (50 if pe != self.links[0] else 0)


def _servers(*services: str) -> Program:
    return Program("servers", (*company(), "serve", *services))


def _redis() -> Program:
    argv = ("redis-server", "--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no",
            "--save", "", "--dir", "{dir}")  # fmt: skip
    return Program("redis", argv)


def _dns() -> Program:
    own = ("--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--log-facility=-")
    argv = ("dnsmasq", "--keep-in-foreground", *own, "--user=root", "--address=/lab/10.9.9.9")
    return Program("dns", argv)


def _office_bgp() -> tuple[Program, ...]:
    config = f"""\
router bgp {OFFICE_ASN}
 bgp router-id 203.0.113.40
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 192.168.{OFFICE_NET}.1 remote-as 65000
 neighbor 192.168.{OFFICE_NET}.1 password {MD5}
 neighbor 192.168.{OFFICE_NET}.1 timers 10 30
 neighbor 192.168.{OFFICE_NET}.1 ttl-security hops 1
 neighbor 192.168.{OFFICE_NET}.1 timers connect 2
 address-family ipv4 unicast
  network {OFFICE}
  neighbor 192.168.{OFFICE_NET}.1 route-map STEAL out
 exit-address-family
route-map STEAL permit 10
 set large-community {STOLEN} {ITS_OWN}
"""
    return frr("office", config, daemons=("zebra", "bgpd"))


HOSTS = (
    Host("web", 11, (1,), (_servers("http:80"),)),
    Host("app", 12, (1,), (_servers("http:8080"),)),
    Host("pay", 13, (1, 2), (_servers("http:443", "http:8081"),)),
    Host("devweb", 31, (1,), (_servers("http:80"),)),
    Host("db", 21, (2,), (_redis(), _servers("sink:22"))),
    Host("vault", 25, (2,), (_servers("sink:8007", "sink:8042", "sink:8099"),)),
    Host("mon", 24, (2,), (_dns(),)),
    Host("office", OFFICE_NET, (2,), _office_bgp(), home="203.0.113.40"),
    Host("b-web", 11, (1,), (), vrf="blue"),
    Host("b-db", 21, (2,), (_redis(),), vrf="blue"),
)


def host(name: str) -> Host:
    """The host of that name."""
    return next(each for each in HOSTS if each.name == name)


def pe_yaml(number: int) -> str:
    """A PE with a port per host."""
    return reflected.pe_yaml(number, _vrf)


def _vrf(vpn: str, target: int, number: int) -> str:
    hosts = [each for each in HOSTS if each.vrf == vpn and number in each.links]
    ports = "".join(_port(each, number) for each in hosts)
    neighbors = "".join(
        f"      192.168.{each.net(number)}.2: {{asn: {OFFICE_ASN}, md5: {MD5}, hold-time: 30,"
        f" import: [{OFFICE}], export: any}}\n"
        for each in hosts
        if each.home
    )
    sessions = f"    neighbors:\n{neighbors}" if neighbors else ""
    return f"""\
  {vpn}:
    rd: 65000:{number}{target}
    route-target: 65000:{target}
    ports:
{ports}{sessions}"""


def _port(each: Host, number: int) -> str:
    net = each.net(number)
    sources = OFFICE if each.home else f'{each.v4}/32, "{each.v6}/128"'
    return f"""\
      {each.port}:
        addresses: [192.168.{net}.1/30, "2001:db8:ff:{net}::1/64"]
        source-prefixes: [{sources}]
"""


def arrive(each: Host, pe: int) -> tuple[tuple[str, ...], ...]:
    """The commands by which a host uses its cable to a PE: addresses and default routes."""
    net, port = each.net(pe), f"eth{each.links.index(pe)}"
    return (
        ("ip", "addr", "add", f"{each.v4}/32", "dev", port),
        ("ip", "-6", "addr", "add", f"{each.v6}/128", "dev", port, "nodad"),
        ("ip", "route", "add", "default", "via", f"192.168.{net}.1", "src", each.v4),
        ("ip", "-6", "route", "add", "default", "via", f"2001:db8:ff:{net}::1", "src", each.v6),
    )


def leave(each: Host, pe: int) -> tuple[tuple[str, ...], ...]:
    """And the commands by which it lets go of it."""
    port = f"eth{each.links.index(pe)}"
    return (
        ("ip", "route", "del", "default"),
        ("ip", "-6", "route", "del", "default"),
        ("ip", "addr", "del", f"{each.v4}/32", "dev", port),
        ("ip", "-6", "addr", "del", f"{each.v6}/128", "dev", port),
    )


def by_old_cable(each: Host, to: Host) -> Iterator[tuple[str, ...]]:
    """Words for ``ip`` by which a host that has moved reaches another over its first cable, with
    the addresses that it took along."""
    net = each.net(each.links[0])
    yield "route", "add", f"{to.v4}/32", "via", f"192.168.{net}.1", "dev", "eth0", "src", each.v4
    gateway = f"2001:db8:ff:{net}::1"
    yield "-6", "route", "add", f"{to.v6}/128", "via", gateway, "dev", "eth0", "src", each.v6
