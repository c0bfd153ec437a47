"""The routers that are measured, each as what the lab has to start on the receiving node."""

from __future__ import annotations

from dataclasses import dataclass, field

from labs.peers import frr as frr_peer
from labs.peers import pe as pe_peer
from labs.topology import Command, Program
from perf import workload
from perf.workload import Workload

LOOPBACK = "10.255.0.1"
REMOTE = "10.255.0.2"


@dataclass(frozen=True, slots=True)
class Receiver:
    """A router under test: its programs, and what is prepared before they start.

    A router whose VRF devices are made by hand, as FRR's are, has them in ``setup``.
    """

    name: str
    programs: tuple[Program, ...]
    setup: tuple[Command, ...] = field(default=())


def frr(load: Workload, node: str) -> Receiver:
    """FRR: bgpd with a VRF instance for each VPN, zebra into the kernel."""
    return Receiver("FRR", frr_peer.programs(node, _bgpd(load), ("zebra", "bgpd")), _vrfs(load))


def bulkhead(load: Workload, node: str) -> Receiver:  # noqa: ARG001 - as the others
    """Bulkhead: ``pe run``, which makes the VRFs and ports itself."""
    return Receiver("Bulkhead", (pe_peer.pe(_pe_yaml(load)),))


def _vrfs(load: Workload) -> tuple[Command, ...]:
    commands: list[Command] = []
    for vrf in range(load.vrfs):
        name, table = workload.vrf_name(vrf), str(workload.table(vrf))
        commands += [
            ("ip", "link", "add", name, "type", "vrf", "table", table),
            ("ip", "link", "set", name, "up"),
            ("ip", "link", "set", workload.ce_port(vrf), "master", name, "up"),
            ("ip", "addr", "add", workload.ce_gateway(vrf), "dev", workload.ce_port(vrf)),
        ]
    return tuple(commands)


_BGPD = """\
frr defaults traditional
hostname pe
router bgp {asn}
 bgp router-id {loopback}
 no bgp default ipv4-unicast
 neighbor {remote} remote-as {asn}
 neighbor {remote} update-source {loopback}
 neighbor {remote} timers connect 1
 address-family ipv4 vpn
  neighbor {remote} activate
 exit-address-family
 address-family ipv6 vpn
  neighbor {remote} activate
 exit-address-family
"""

_BGPD_VRF = """\
router bgp {asn} vrf {vrf}
 address-family ipv4 unicast
  label vpn export auto
  rd vpn export {asn}:{number}
  rt vpn both {asn}:{number}
  export vpn
  import vpn
 exit-address-family
"""


def _bgpd(load: Workload) -> str:
    core = _BGPD.format(asn=workload.ASN, loopback=LOOPBACK, remote=REMOTE)
    return core + "".join(
        _BGPD_VRF.format(asn=workload.ASN, vrf=workload.vrf_name(vrf), number=vrf + 1)
        for vrf in range(load.vrfs)
    )


_PE = """\
router-id: {loopback}
asn: {asn}
loopback: {loopback}
core-ports:
  core0: {{}}
  core1: {{}}
peers:
  {remote}: {{}}
vrfs:
"""

_PE_VRF = """\
  {vrf}:
    rd: {asn}:{number}
    route-target: {asn}:{number}
    table: {table}
    ports:
      {port}:
        addresses: {gateway}
"""


def _pe_yaml(load: Workload) -> str:
    core = _PE.format(asn=workload.ASN, loopback=LOOPBACK, remote=REMOTE)
    return core + "".join(
        _PE_VRF.format(
            asn=workload.ASN,
            vrf=workload.vrf_name(vrf),
            number=vrf + 1,
            table=workload.table(vrf),
            port=workload.ce_port(vrf),
            gateway=workload.ce_gateway(vrf),
        )
        for vrf in range(load.vrfs)
    )
