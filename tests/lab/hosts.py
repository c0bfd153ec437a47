"""Hosts on the links of a PE that is alone."""

from __future__ import annotations

from labs.topology import Node


def host(name: str, net: int, *addresses: object) -> Node:
    """Return a host with these addresses; its way out is the PE, 192.168.NET.1."""
    return Node(
        name,
        addresses=tuple(f"{address}/32" for address in addresses),
        setup=(("ip", "route", "add", "default", "via", f"192.168.{net}.1"),),
    )
