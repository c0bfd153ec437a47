"""Three PEs behind a route reflector that is FRR."""

from __future__ import annotations

from labs.parts import loopback
from labs.peers.frr import programs as frr
from labs.reflected import MD5, REFLECTOR, reflected

CLIENTS = tuple(loopback(n) for n in (1, 2, 3))


def _config() -> str:
    neighbors = "".join(
        f" neighbor {client} remote-as 65000\n"
        f" neighbor {client} update-source {REFLECTOR}\n"
        f" neighbor {client} password {MD5}\n"
        f" neighbor {client} timers 10 30\n"
        f" neighbor {client} timers connect 2\n"
        for client in CLIENTS
    )
    families = "".join(
        f" address-family {family} vpn\n"
        + "".join(
            f"  neighbor {client} activate\n  neighbor {client} route-reflector-client\n"
            for client in CLIENTS
        )
        + " exit-address-family\n"
        for family in ("ipv4", "ipv6")
    )
    return (
        "router bgp 65000\n"
        f" bgp router-id {REFLECTOR}\n"
        " no bgp default ipv4-unicast\n"
        f"{neighbors}{families}"
    )


LAB = reflected(
    "reflector_frr",
    "three PEs behind a route reflector that is FRR",
    frr("rr", _config(), daemons=("zebra", "bgpd")),
)
