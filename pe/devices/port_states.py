"""Ports as they are, in the words of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controlplane.model.desired import Desired
from pe.model.state import Structure


@dataclass(frozen=True, slots=True)
class PortState:
    """A configured port; ``vrf`` "" for the core. ``up`` means that it carries packets where it
    should: up, with carrier, and for a CE port in its VRF with its guard in force."""

    name: str
    vrf: str
    present: bool
    up: bool
    guarded: bool
    mtu: int
    addresses: tuple[str, ...]


def port_states(
    desired: Desired, seen: Structure, guarded: Callable[[str], bool]
) -> Iterator[PortState]:
    """Every configured port, there or not."""
    homes = {name: port.vrf for name, port in desired.ce_ports.items()}
    for name in [*desired.core_ports, *homes]:
        vrf, link = homes.get(name, ""), seen.links.get(name)
        own = sorted(str(a.interface) for a in seen.addresses if a.port == name)
        is_guarded = guarded(name) if vrf else link is not None
        carries = link is not None and link.up and link.carrier
        in_place = not vrf or (link is not None and link.master == vrf and is_guarded)
        yield PortState(
            name=name,
            vrf=vrf,
            present=link is not None,
            up=carries and in_place,
            guarded=is_guarded,
            mtu=link.mtu if link else 0,
            addresses=tuple(own),
        )
