"""The state of configured ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controlplane.model.desired import Desired
from pe.model.port_kinds import refusal
from pe.model.state import Link, Structure


@dataclass(frozen=True, slots=True)
class PortState:
    """A configured port; ``vrf`` "" for the core. ``up`` means that it carries packets where it
    should: up, with carrier, and for a CE port in its VRF with its guard in force. A device that
    cannot be guarded counts as unguarded."""

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
    for name in [*desired.core_ports, *desired.ce_ports]:
        yield port_state(name, desired, seen, guarded)


def port_state(
    name: str, desired: Desired, seen: Structure, guarded: Callable[[str], bool]
) -> PortState:
    """One configured port, there or not."""
    port, link = desired.ce_ports.get(name), seen.links.get(name)
    vrf = port.vrf if port else ""
    is_guarded = _is_guardable(link) and guarded(name) if vrf else link is not None
    carries = link is not None and link.up and link.carrier
    in_place = not vrf or (link is not None and link.master == vrf and is_guarded)
    return PortState(
        name=name,
        vrf=vrf,
        present=link is not None,
        up=carries and in_place,
        guarded=is_guarded,
        mtu=link.mtu if link else 0,
        addresses=tuple(sorted(str(a.interface) for a in seen.addresses.get(name, ()))),
    )


def _is_guardable(link: Link | None) -> bool:
    return link is None or not refusal(link)
