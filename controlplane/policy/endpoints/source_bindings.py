"""Source bindings: the port of each endpoint's address, or elsewhere, under every policy.

Identity is derived from the source address of a packet, so it is only as strong as source-address
validation. A packet from a bound address is accepted from its port only (SPF-3): one from the port
that the workload left is spoofed, even if that port's own list of prefixes still has the address.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.attachment import EndpointKey
from controlplane.model.prefix import Prefix
from controlplane.model.source_bindings import ELSEWHERE, SourceBindings
from controlplane.model.verdict_tables import TablesDelta
from controlplane.model.workload import HERE
from controlplane.policy.compile.change_recorder import ABSENT, ChangeRecorder
from controlplane.policy.compile.coverage import cut
from controlplane.policy.endpoints.registry import EndpointRegistry

_SINGLE = {4: "bindings4", 16: "bindings6"}
"""The map of single addresses, by their width in octets."""
_RANGES = {4: "binding_ranges4", 16: "binding_ranges6"}


def binding_of(place: EndpointKey, population: EndpointRegistry) -> str | None:
    """Return the binding of a key; None if no endpoint has it, or two ports here do.

    Where another PE claims the address under another name, it stays bound to its port here: the
    packets from there are pending, not spoofed.
    """
    remote = population.remote.get(place)
    if remote is not None and HERE not in remote.conflict:
        return ELSEWHERE
    ports = {population.attachments[name].workload.port for name in population.owners(place)}
    return ports.pop() if len(ports) == 1 else None


class BindingTable:
    """Keep the source bindings of all endpoints up to date."""

    def __init__(self, population: EndpointRegistry) -> None:
        self.bindings = SourceBindings()
        self._population = population
        self._journal = ChangeRecorder(self.bindings)
        self._wide: dict[tuple[str, int], dict[Prefix, str]] = {}
        self.settle([*population.remote, *population.owned()])

    def settle(self, places: Iterable[EndpointKey]) -> TablesDelta:
        """Compute the bindings of these keys anew; return what that changes."""
        stale: set[tuple[str, int]] = set()
        for vrf, prefix in places:
            binding, width = binding_of((vrf, prefix), self._population), len(prefix.packed)
            if prefix.length == 8 * width:
                value = ABSENT if binding is None else binding
                self._journal.put(_SINGLE[width], (vrf, prefix.packed), value)
            elif self._widen(vrf, prefix, binding):
                stale.add((vrf, width))
        for vrf, width in stale:
            self._cut(vrf, width)
        return self._journal.delta()

    def _widen(self, vrf: str, prefix: Prefix, binding: str | None) -> bool:
        wide = self._wide.setdefault((vrf, len(prefix.packed)), {})
        if wide.get(prefix) == binding:
            return False
        if binding is None:
            del wide[prefix]
        else:
            wide[prefix] = binding
        return True

    def _cut(self, vrf: str, width: int) -> None:
        """Compute the ranges of a VRF and family anew: of several prefixes the longest counts."""
        name = _RANGES[width]
        wanted = {(vrf, *ends): port for ends, port in cut(width, self._wide[vrf, width]).items()}
        for key in [k for k in getattr(self.bindings, name) if k[0] == vrf and k not in wanted]:
            self._journal.put(name, key, ABSENT)
        for key, port in wanted.items():
            self._journal.put(name, key, port)
