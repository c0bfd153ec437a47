"""Where addresses live: behind a port here, or elsewhere. It is the same under every policy.

An identity follows the source address of a packet, so it is worth as much as the address. What
has a home is heard from there and from nowhere else (SPF-3): the port that a workload left does
not speak for it any more, whatever that port's own list of prefixes still says.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.attachment import EndpointKey
from controlplane.model.prefix import Prefix
from controlplane.model.source_bindings import ELSEWHERE, SourceBindings
from controlplane.model.verdict_tables import TablesDelta
from controlplane.policy.compile.change_recorder import ABSENT, ChangeRecorder
from controlplane.policy.compile.coverage import cut
from controlplane.policy.endpoints.registry import EndpointRegistry


def home_of(place: EndpointKey, population: EndpointRegistry) -> str | None:
    """The home of a place; None: nobody has it, or two ports here do."""
    if place in population.claims:
        return ELSEWHERE
    ports = {population.attachments[name].workload.port for name in population.owners(place)}
    return ports.pop() if len(ports) == 1 else None


class BindingTable:
    """The homes of a population, kept up to date."""

    def __init__(self, population: EndpointRegistry) -> None:
        self.homes = SourceBindings()
        self._population = population
        self._journal = ChangeRecorder(self.homes)
        self._wide: dict[tuple[str, int], dict[Prefix, str]] = {}
        self.settle([*population.claims, *population.owned()])

    def settle(self, places: Iterable[EndpointKey]) -> TablesDelta:
        """Somebody came to these places or left them; what that changes."""
        stale: set[tuple[str, int]] = set()
        for vrf, prefix in places:
            home, width = home_of((vrf, prefix), self._population), len(prefix.packed)
            if prefix.length == 8 * width:
                value = ABSENT if home is None else home
                self._journal.put(_map("homes", width), (vrf, prefix.packed), value)
            elif self._widen(vrf, prefix, home):
                stale.add((vrf, width))
        for vrf, width in stale:
            self._cut(vrf, width)
        return self._journal.delta()

    def _widen(self, vrf: str, prefix: Prefix, home: str | None) -> bool:
        wide = self._wide.setdefault((vrf, len(prefix.packed)), {})
        if wide.get(prefix) == home:
            return False
        if home is None:
            del wide[prefix]
        else:
            wide[prefix] = home
        return True

    def _cut(self, vrf: str, width: int) -> None:
        """Lay the ranges of a VRF and family anew: of several prefixes the longest counts."""
        name = _map("home_ranges", width)
        wanted = {(vrf, *ends): home for ends, home in cut(width, self._wide[vrf, width]).items()}
        for key in [k for k in getattr(self.homes, name) if k[0] == vrf and k not in wanted]:
            self._journal.put(name, key, ABSENT)
        for key, home in wanted.items():
            self._journal.put(name, key, home)


def _map(kind: str, width: int) -> str:
    return f"{kind}{4 if width == 4 else 6}"
