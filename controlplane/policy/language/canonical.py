"""The one way to write a policy down: equal meaning, equal bytes, equal digest.

Sentences and structured rules, spacing, the order of fields and named services all vanish;
names, ids, orders and comments stay, because people and audits refer to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from controlplane.policy.language.policy import Group, ModeSetting, Policy
from controlplane.policy.language.positions import Value
from controlplane.policy.language.rule import Rule
from controlplane.policy.language.selector import text_of


def to_document(policy: Policy) -> dict[str, Value]:
    """Return the structured form; `policy_from_value` of it gives the policy back."""
    return {
        "name": policy.name,
        "groups": {n: _group(g) for n, g in policy.groups.items() if not g.implicit},
        "networks": {n: _texts(s.prefixes) for n, s in policy.networks.items()},
        "modes": {
            "default": _mode(policy.modes.default),
            "vrfs": {name: _mode(setting) for name, setting in policy.modes.vrfs.items()},
            "groups": {name: _mode(setting) for name, setting in policy.modes.groups.items()},
        },
        "rules": [_rule(rule) for rule in policy.rules],
    }


def canonical_text(policy: Policy) -> str:
    """Return canonical JSON: sorted keys, no spaces."""
    document = to_document(policy)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(text: str) -> str:
    """Return SHA-256 of a canonical text in UTF-8, 64 hex digits: the name of a revision."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest(policy: Policy) -> str:
    """Return the name that the revision of a policy has."""
    return digest_of(canonical_text(policy))


def _texts(items: Iterable[object]) -> list[Value]:
    return [str(item) for item in items]


def _group(group: Group) -> Value:
    return {"id": group.id, "selector": text_of(group.selector)}


def _mode(setting: ModeSetting) -> Value:
    if not setting.services:
        return {"mode": setting.mode.value}
    return {"mode": setting.mode.value, "services": _texts(setting.services)}


def _rule(rule: Rule) -> Value:
    entry: dict[str, Value] = {
        "tier": rule.tier.value,
        "order": rule.order,
        "action": rule.action.value,
        "from": _texts(rule.sources),
        "to": _texts(rule.destinations),
        "services": _texts(rule.services),
    }
    if rule.vrfs:
        entry["vrfs"] = _texts(sorted(rule.vrfs))
    if rule.comment:
        entry["comment"] = rule.comment
    if rule.id != f"{rule.tier}/{rule.order}":
        entry["name"] = rule.id
    return entry
