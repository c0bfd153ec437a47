"""The network of the routing bench.

::

              core0 ┌──────────┐
    sites ──── pe ──┤          ├── remote
        ce0..ce9    └──────────┘ core1

``pe`` is the router under test, ``remote`` the sender, whose loopback is reached by a
static labelled route in the main table over one of the two core links. ``sites`` is where
the probe packets of every VRF come from.
"""

from __future__ import annotations

from labs.topology import Command, End, Lab, Link, Node
from perf import workload
from perf.receivers import LOOPBACK, REMOTE, Receiver
from perf.workload import Workload

PE, REMOTE_NODE, SITES = "bench-pe", "bench-remote", "bench-sites"
TRANSPORT_LABEL = 100
LINKS = ("core0", "core1")
SITE_MAC = "02:00:00:00:{:02x}:02"
GATEWAY_MAC = "02:00:00:00:{:02x}:01"


def network(receiver: Receiver, load: Workload) -> Lab:
    """The lab with a receiver on it, all started but the sender."""
    pe = Node(
        PE,
        role="pe",
        addresses=(f"{LOOPBACK}/32",),
        sysctls={"net.ipv4.ip_forward": "1", "net.mpls.platform_labels": "100000"},
        setup=(*_core_inputs(), _underlay(LINKS[0]), *_warm(), *receiver.setup),
        programs=receiver.programs,
    )
    remote = Node(
        REMOTE_NODE,
        role="peer",
        addresses=(f"{REMOTE}/32",),
        sysctls={"net.mpls.platform_labels": "1000"},
        setup=(
            *_core_inputs(),
            ("ip", "-f", "mpls", "route", "add", str(TRANSPORT_LABEL), "dev", "lo"),
            ("ip", "route", "add", f"{LOOPBACK}/32", "via", _address(0, 1), "dev", LINKS[0]),
        ),
    )
    return Lab("bench", "routes and the core path", (remote, Node(SITES), pe), _links(load))


def gateway(link: str) -> str:
    """The remote PE's address on a core link."""
    return _address(LINKS.index(link), 2)


def _underlay(link: str) -> Command:
    labelled = ("encap", "mpls", str(TRANSPORT_LABEL), "via", gateway(link), "dev", link)
    return ("ip", "route", "replace", f"{REMOTE}/32", *labelled)


def _address(link: int, end: int) -> str:
    return f"10.0.{link + 1}.{end}"


def _core_inputs() -> tuple[Command, ...]:
    return tuple(("sysctl", "-qw", f"net.mpls.conf.{link}.input=1") for link in LINKS)


def _warm() -> tuple[Command, ...]:
    # Address resolution on the second link is not what is measured.
    return tuple(("ping", "-qc1", "-W5", gateway(link)) for link in LINKS)


def _links(load: Workload) -> tuple[Link, ...]:
    core = [
        Link(
            End(PE, name, (f"{_address(number, 1)}/30",)),
            End(REMOTE_NODE, name, (f"{_address(number, 2)}/30",)),
        )
        for number, name in enumerate(LINKS)
    ]
    edges = [
        Link(
            End(PE, workload.ce_port(vrf), mac=GATEWAY_MAC.format(vrf), up=False),
            End(SITES, workload.ce_port(vrf), mac=SITE_MAC.format(vrf)),
        )
        for vrf in range(load.vrfs)
    ]
    return (*core, *edges)
