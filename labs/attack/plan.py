"""Numbers and names that the attack lab's configuration and its attackers share."""

from __future__ import annotations

VPN_NUMBERS = {"red": 1, "blue": 2, "internet": 3}
CE_AS = {"red": 65101, "blue": 65201}
KEYS = {"red": "red-42aa", "blue": "blue-9d01", "core": "core-7c1f"}
CORE_AS = 65000
LOOPBACK6 = {1: "2001:db8:ff::1", 2: "2001:db8:ff::2"}
CORE6 = "2001:db8:c"
"""The core's links in IPv6, followed by the number of the PE."""

MAX_PREFIX = 50
LABEL_HOLD_DOWN = 600
SYNC = 3
"""Seconds that a start waits for sessions: those of the CEs never come."""
CONNTRACK_LIMIT = 200
ROUTE_LIMIT = 500
LIMITS = {
    "red": f"{{routes: {ROUTE_LIMIT}, conntrack: {CONNTRACK_LIMIT}}}",
    "blue": f"{{routes: {ROUTE_LIMIT}, conntrack: 1000}}",
}


def lan4(site: int) -> str:
    """A site's own address, the same in every VPN."""
    return f"10.{site}.0.1"


def lan6(site: int) -> str:
    """The same in IPv6."""
    return f"2001:db8:{site}::1"


def lan(site: int, version: int) -> str:
    """A site's own address of IP version 4 or 6."""
    return lan6(site) if version == 6 else lan4(site)


def gateway(site: int, version: int) -> str:
    """The PE's address on a site's link."""
    return f"2001:db8:f{site}::1" if version == 6 else f"192.168.{site}.1"


def ce(site: int, version: int) -> str:
    """The CE's address on its link."""
    return f"2001:db8:f{site}::2" if version == 6 else f"192.168.{site}.2"
