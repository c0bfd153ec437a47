"""Check kernel settings that no test packet can show, or that back up a guard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pe.selftest.trial import Settings, Trial
from pe.selftest.world import CE_PORTS

SOCKETS = {f"ipv4/{p}_l3mdev_accept": "0" for p in ("tcp", "udp", "raw")}
NO_REDIRECTS = {
    "ipv4/conf/all/send_redirects": "0",
    "ipv6/conf/all/accept_ra": "0",
} | {
    f"{path.format(port)}": "0"
    for port in CE_PORTS
    for path in (
        "ipv4/conf/{}/send_redirects", "ipv4/conf/{}/accept_redirects", "ipv4/conf/{}/proxy_arp",
        "ipv6/conf/{}/accept_redirects", "ipv6/conf/{}/accept_ra",
    )
}  # fmt: skip


def trials(devices: Iterable[str], core_ports: Iterable[str]) -> Iterator[Trial]:
    """Yield all of them; ``devices`` are all that there are, scratch ports among them."""
    closed = set(devices) - set(core_ports)
    yield Settings(
        requirement="LBL-17", sent="setting: no labels on any port that is not core",
        wanted={f"mpls/conf/{name}/input": "0" for name in sorted(closed)},
    )  # fmt: skip
    yield Settings(
        requirement="ISO-10", sent="setting: no listener of the core in a VPN", wanted=SOCKETS
    )
    yield Settings(
        requirement="HIDE-9", sent="setting: no redirects, no proxy ARP, no router adverts",
        wanted=NO_REDIRECTS,
    )  # fmt: skip
