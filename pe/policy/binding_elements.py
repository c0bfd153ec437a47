"""Source bindings as elements of the kernel's maps. Pure.

An address has the number of its port, and a port that number and its name: what comes from an
address is compared with the port that it comes by. A shorter way leads there first, by the
port's index: most packets are where they belong. A port whose index is not known, or is another
one by now, only makes its packets go the longer way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from controlplane.model.source_bindings import BINDING_MAPS, ELSEWHERE, SourceBindings
from controlplane.model.verdict_tables import AddressKey, TablesDelta
from pe.nft.diff import Change
from pe.nft.expression import host32
from pe.nft.model import Elements
from pe.nft.types import device
from pe.policy.elements import addresses, encoded_zones
from pe.policy.ports import Port

PORT_BINDINGS = {"bindings4": "port_bindings4", "bindings6": "port_bindings6"}
_THERE = host32(1)


class PortNumbers:
    """Numbers for the ports that addresses are bound to; 0 is elsewhere. A port keeps its own."""

    def __init__(self) -> None:
        self._numbers = {ELSEWHERE: 0}

    def know(self, ports: Iterable[str]) -> Elements:
        """Elements for those of the ports that had no number before."""
        fresh = sorted(set(ports) - self._numbers.keys())
        self._numbers |= {port: len(self._numbers) + n for n, port in enumerate(fresh)}
        return {"binding_ports": {self._key(port): _THERE for port in fresh}}

    def elements(self) -> Elements:
        """Elements for all of them."""
        ports = (port for port in self._numbers if port != ELSEWHERE)
        return {"binding_ports": {self._key(port): _THERE for port in ports}}

    def _key(self, port: str) -> bytes:
        return host32(self._numbers[port]) + device(port)

    def of(self, bindings: Mapping[Any, str]) -> dict[Any, int]:
        """The same with numbers for names, all of them known."""
        return {key: self._numbers[port] for key, port in bindings.items()}


class BindingEncoder:
    """Encodes with given zones, ports and numbers; what belongs to other VRFs is left out."""

    def __init__(
        self, zones: Mapping[str, int], ports: Mapping[str, Port], numbers: PortNumbers
    ) -> None:
        self._zones, self._ports, self._numbers = encoded_zones(zones), ports, numbers

    def all(self, bindings: SourceBindings) -> Elements:
        """All elements of the maps of bindings."""
        made = {name: self._placed(name, getattr(bindings, name)) for name in BINDING_MAPS}
        return made | {
            at: self._by_index(getattr(bindings, name)) for name, at in PORT_BINDINGS.items()
        }

    def delta(self, delta: TablesDelta, before: SourceBindings) -> Change:
        """A change of bindings."""
        made: Change = {}
        for name, change in delta.items():
            gone = self._placed(name, dict.fromkeys(change.gone, ELSEWHERE))
            made[name] = (list(gone), self._placed(name, change.put))
            if at := PORT_BINDINGS.get(name):
                held = getattr(before, name)
                left = self._by_index({key: held[key] for key in change.gone if key in held})
                made[at] = (list(left), self._by_index(change.put))
        return made

    def shorter_ways(self, bindings: SourceBindings, changed: Iterable[str]) -> Elements:
        """The shorter way, of addresses that are bound to some ports."""
        ports = frozenset(changed)
        return {
            at: self._by_index({k: p for k, p in getattr(bindings, name).items() if p in ports})
            for name, at in PORT_BINDINGS.items()
        }

    def _by_index(self, bindings: Mapping[AddressKey, str]) -> dict[bytes, bytes]:
        return dict.fromkeys(self._settled(bindings), _THERE)

    def _settled(self, bindings: Mapping[AddressKey, str]) -> Iterator[bytes]:
        for (vrf, address), name in bindings.items():
            port = self._ports.get(name)
            if port is not None and port.vrf == vrf and vrf in self._zones:
                yield host32(port.ifindex) + address

    def _placed(self, name: str, bindings: Mapping[Any, str]) -> dict[bytes, bytes]:
        numbered = self._numbers.of(bindings)
        return addresses(self._zones, numbered, ranges=name.startswith("binding_ranges"))
