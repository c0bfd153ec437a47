"""Two PEs with a BGP session between them, for tags that change at one of them.

::

    near ── ce-near [pe1] core0 ──── p (labels only) ──── core0 [pe2] ce-far ── far
    crowd ── ce-crowd [pe1]

All workloads are behind ``ce-crowd``; ``near`` and ``far`` are a workload each, and ask them.
"""

from __future__ import annotations

from labs.parts import core_link, loopback, lsp, transit
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node

CROWD, NEAR, FAR = "bench-crowd", "bench-near", "bench-far"
CE_PORTS = {CROWD: "pe-gen", NEAR: "ce-near", FAR: "ce-far"}
ASKERS = {NEAR: "10.3.0.1", FAR: "10.2.0.1"}
PES = ("pe1", "pe2")
CROWDED = "10.1.0.0/16"

_PE = """\
name: pe{here}
router-id: {loopback}
asn: 65000
loopback: {loopback}
core-ports: {{core0: {{}}}}
peers:
  {other}: {{hold-time: 90}}
vrfs:
  red:
    rd: 65000:{here}00
    route-target: 65000:100
    ports:
"""

_PORT = """\
      {port}:
        addresses: 192.168.{net}.1/30
        source-prefixes: [{sources}]
"""


def lab() -> Lab:
    """All of it; the PEs' CE ports are down until they are guarded."""
    links = [core_link(1), core_link(2)]
    for host, node in ((CROWD, "pe1"), (NEAR, "pe1"), (FAR, "pe2")):
        links.append(Link(End(host, "eth0"), End(node, CE_PORTS[host], up=False)))
    hosts = [Node(host, "host", setup=_quiet()) for host in CE_PORTS]
    return Lab("bench-fleet", "tags that change at one of two PEs", (
        transit((1, 2)), *hosts, _provider_edge(1, (CROWD, NEAR)), _provider_edge(2, (FAR,)),
    ), tuple(links))  # fmt: skip


def _quiet() -> tuple[tuple[str, ...], ...]:
    """A host that has every address of its network, answers ARP, and nothing else."""
    shut = "add table inet quiet; add chain inet quiet in { type filter hook input priority 0; }"
    return (
        *(("ip", "route", "add", "local", net, "dev", "lo")
          for net in (CROWDED, *(f"{address}/32" for address in ASKERS.values()))),
        ("nft", f"{shut}; add rule inet quiet in meta l4proto udp drop"),
    )  # fmt: skip


def _provider_edge(here: int, hosts: tuple[str, ...]) -> Node:
    head = _PE.format(here=here, loopback=loopback(here), other=loopback(3 - here))
    ports = "".join(
        _PORT.format(
            port=CE_PORTS[host], net=10 * here + number,
            sources=CROWDED if host == CROWD else f"{ASKERS[host]}/32",
        )
        for number, host in enumerate(hosts)
    )  # fmt: skip
    setup = (lsp(here, 3 - here),)
    return Node(f"pe{here}", "pe", (loopback(here) + "/32",), {}, setup, (pe(head + ports),))
