"""Who answers whom: pings and names, between sites of one VPN and across VPNs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labs.lab import RunningLab
from labs.site import command as site
from labs.topology import Outcome
from labs.waiting import until

PATIENCE = 60.0


def lan_address(number: int, *, v6: bool) -> str:
    """The address of site ``number``'s LAN, the same in every VPN."""
    return f"2001:db8:{number}::1" if v6 else f"10.{number}.0.1"


def near(address: str, number: int) -> str:
    """Site ``number``'s own LAN address of the family of ``address``."""
    return lan_address(number, v6=":" in address)


def mesh(lab: RunningLab, sites: Iterable[tuple[str, int]]) -> Iterator[Outcome]:
    """Every site reaches every other site of its VPN, and it is that one which answers."""
    sites = tuple(sites)
    for vpn, here in sites:
        for there in (n for other, n in sites if other == vpn and n != here):
            for v6 in (False, True):
                yield reaches(lab, vpn, here, there, v6=v6)


def reaches(lab: RunningLab, vpn: str, here: int, there: int, *, v6: bool) -> Outcome:
    """One site asks another who it is, once the routes are there."""
    name, want = f"ce-{vpn}-{here}", f"ce-{vpn}-{there}"
    address = lan_address(there, v6=v6)
    source = lan_address(here, v6=v6)
    until(lambda: ping(lab, name, address, source, count=1).returncode == 0, PATIENCE, every=0.5)
    done = lab.run(name, *site(), "who", address, source, check=False)
    return Outcome(done.stdout.strip() == want, f"{name} reaches {want} at {address}", said(done))


def ping(lab: RunningLab, name: str, address: str, source: str, *, count: int = 3) -> Any:
    """ping(8) from a site's LAN address."""
    argv = ("ping", "-c", str(count), "-i", "0.2", "-W", "1", "-I", source, address)
    return lab.run(name, *argv, check=False)


def summary(text: str) -> str:
    """The line of ping that counts."""
    return next((line for line in text.splitlines() if "packets transmitted" in line), text[-200:])


def said(done: Any) -> str:
    """What a program answered or complained."""
    return str(done.stdout.strip() or done.stderr.strip())[-300:]
