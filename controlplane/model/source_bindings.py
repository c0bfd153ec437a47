"""Source bindings (IP source guard): the port behind which each address is, for all policies."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from controlplane.model.verdict_tables import AddressKey, RangeKey

ELSEWHERE = ""
"""The home of what another PE, or another VRF, has."""


@dataclass(slots=True)
class SourceBindings:
    """Address or range -> name of the port behind which it lives, or ELSEWHERE. Ranges are
    disjoint; single addresses go before them. What is not here may come from anywhere."""

    bindings4: dict[AddressKey, str] = field(default_factory=dict)
    bindings6: dict[AddressKey, str] = field(default_factory=dict)
    binding_ranges4: dict[RangeKey, str] = field(default_factory=dict)
    binding_ranges6: dict[RangeKey, str] = field(default_factory=dict)

    def copy(self) -> SourceBindings:
        """Return the same in dictionaries of their own."""
        return SourceBindings(**{name: dict(getattr(self, name)) for name in BINDING_MAPS})


BINDING_MAPS = tuple(each.name for each in fields(SourceBindings))
