"""A small company on two PEs, and another customer with the same addresses: microsegmentation.

::

    web  app  pay  devweb                      db  vault  mon  office
      \\   |    |   /                             \\   |     |   /
       '--- pe1 ---------- p (labels) ---------- pe2 ---'
    b-web --'               |                     '-- b-db
                       rr (reflector)       pay has a cable to pe2 as well: it moves

Red is the company, blue another customer with the addresses 10.1.0.11 and 10.1.0.21 too. Every
host has a port of its own. ``office`` is a network outside, behind pe2, whose router speaks BGP and
claims to be in payroll's group.
"""

from __future__ import annotations

from labs.checks.segments import CHECKS
from labs.estate import HOSTS, Host, arrive, pe_yaml
from labs.parts import core_link, loopback, lsp, transit
from labs.peers.frr import programs as frr
from labs.peers.pe import pe
from labs.reflected import MD5, REFLECTOR, TO_REFLECTOR, reflector
from labs.topology import End, Lab, Link, Node


def _node(each: Host) -> Node:
    return Node(each.name, "host", (), {}, arrive(each, each.links[0]), each.programs)


def _links(each: Host) -> tuple[Link, ...]:
    return tuple(
        Link(
            End(
                each.name,
                f"eth{index}",
                (f"192.168.{each.net(pe)}.2/30", f"2001:db8:ff:{each.net(pe)}::2/64"),
            ),
            End(f"pe{pe}", each.port, up=False),
        )
        for index, pe in enumerate(each.links)
    )


def _reflect() -> str:
    clients = (loopback(1), loopback(2))
    neighbors = "".join(
        f" neighbor {client} remote-as 65000\n neighbor {client} update-source {REFLECTOR}\n"
        f" neighbor {client} password {MD5}\n neighbor {client} timers 10 30\n"
        f" neighbor {client} timers connect 2\n neighbor {client} advertisement-interval 0\n"
        for client in clients
    )
    families = "".join(
        f" address-family {family} vpn\n"
        + "".join(
            f"  neighbor {client} activate\n  neighbor {client} route-reflector-client\n"
            for client in clients
        )
        + " exit-address-family\n"
        for family in ("ipv4", "ipv6")
    )
    head = f"router bgp 65000\n bgp router-id {REFLECTOR}\n no bgp default ipv4-unicast\n"
    return head + neighbors + families


def _provider_edge(number: int) -> Node:
    via = ("via", f"10.0.{number}.2", "dev", "core0", "src", loopback(number))
    setup = (lsp(number, 3 - number), ("ip", "route", "add", f"{REFLECTOR}/32", *via))
    address = (f"{loopback(number)}/32",)
    return Node(f"pe{number}", "pe", address, {}, setup, (pe(pe_yaml(number)),))


def _core() -> Node:
    core = transit((1, 2))
    towards = ("ip", "route", "add", *TO_REFLECTOR)
    return Node("p", "p", core.addresses, core.sysctls, (*core.setup, towards))


LAB = Lab(
    name="segments",
    title="a small company: discover, tag, test, enforce, move, prove",
    nodes=(
        _core(),
        reflector(frr("rr", _reflect(), daemons=("zebra", "bgpd"))),
        *map(_node, HOSTS),
        *map(_provider_edge, (1, 2)),
    ),
    links=(
        Link(End("rr", "core0", ("10.0.9.1/30",)), End("p", "rr", ("10.0.9.2/30",))),
        core_link(1),
        core_link(2),
        *(link for each in HOSTS for link in _links(each)),
    ),
    checks=CHECKS,
)
