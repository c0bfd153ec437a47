"""Two policies, line by line: what was added, removed or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controlplane.policy.language.policy import ModeSetting, Policy
from controlplane.policy.language.selector import text_of


class Line(NamedTuple):
    """One difference; `before` or `after` is "" where the subject is not there."""

    subject: str
    before: str
    after: str


def difference(before: Policy, after: Policy) -> Iterator[Line]:
    """Yield groups, network sets, modes, rules that differ; rules in the order of evaluation."""
    old, new = _subjects(before), _subjects(after)
    for subject in [*new, *(s for s in old if s not in new)]:
        was, will = old.get(subject, ""), new.get(subject, "")
        if was != will:
            yield Line(subject, was, will)


def _subjects(policy: Policy) -> dict[str, str]:
    found = {"name": policy.name} if policy.name else {}
    for name, group in sorted(policy.groups.items()):
        if not group.implicit:
            found[f"group {name}"] = f"{text_of(group.selector)} (id {group.id})"
    for name, network in sorted(policy.networks.items()):
        found[f"network {name}"] = ", ".join(map(str, network.prefixes))
    modes = policy.modes
    found["mode default"] = _mode(modes.default)
    found |= _modes("vrf", modes.vrfs) | _modes("group", modes.groups)
    for rule in policy.rules:
        comment = f"  # {rule.comment}" if rule.comment else ""
        place = f"{rule.tier}/{rule.order}"
        prefix = "" if rule.id == place else f"{place}: "
        found[f"rule {rule.id}"] = f"{prefix}{rule}{comment}"
    return found


def _modes(kind: str, settings: Mapping[str, ModeSetting]) -> dict[str, str]:
    return {f"mode {kind} {n}": _mode(setting) for n, setting in sorted(settings.items())}


def _mode(setting: ModeSetting) -> str:
    services = ", ".join(map(str, setting.services))
    return f"{setting.mode.value} ({services})" if services else setting.mode.value
