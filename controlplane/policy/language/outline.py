"""Make out what a canonical document says without reading it as a policy.

A node goes on with a revision whose text this program does not accept any more: its workloads
still have groups for other PEs, and its name is shown.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from controlplane.policy.language.policy import Group, Mode, derived_group_id
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.rule import Action
from controlplane.policy.language.selector import parse_selector
from controlplane.policy.language.syntax import ENDPOINT_WORDS


def name_in(document: str) -> str:
    """Return the name that a document gives itself, "" if there is none."""
    name = _load(document).get("name")
    return name if isinstance(name, str) else ""


class Outline(NamedTuple):
    """What a list of revisions shows of a document."""

    name: str
    rules: int
    groups: int


def outline_of(document: str) -> Outline:
    """Count rules and declared groups, without reading the document as a policy."""
    value = _load(document)
    name, rules = value.get("name"), value.get("rules")
    return Outline(
        name if isinstance(name, str) else "",
        len(rules) if isinstance(rules, list) else 0,
        len(_mapping(value.get("groups"))),
    )


def groups_in(document: str) -> dict[str, Group]:
    """Return the groups, declared and implicit, whose selectors can be read."""
    value = _load(document)
    entries = {name: _mapping(group) for name, group in _mapping(value.get("groups")).items()}
    texts = {name: (entry.get("id"), entry.get("selector")) for name, entry in entries.items()}
    named = {*texts, *_mapping(value.get("networks")), *ENDPOINT_WORDS}
    implicit = {text for text in _endpoints(value.get("rules")) if text not in named}
    texts |= {text: (derived_group_id(text), text) for text in implicit}
    found: dict[str, Group] = {}
    for name, (number, selector) in texts.items():
        if not isinstance(number, int) or not isinstance(selector, str):
            continue
        with contextlib.suppress(MalformedError):
            found[name] = Group(name, number, parse_selector(selector), name in implicit)
    return found


class PossiblyAffectedVrfs:
    """The VRFs that the policy that a document was may have concerned.

    As ``AffectedVrfs`` on what can be made out; every VRF where it cannot.
    """

    def __init__(self, document: str) -> None:
        value = _load(document)
        self._modes = _mapping(value.get("modes"))
        self._beyond = {"any", "outside", *_mapping(value.get("networks"))}
        rules = value.get("rules")
        self._rules = [_mapping(rule) for rule in rules] if isinstance(rules, list) else None

    def has(self, vrf: str) -> bool:
        """Return whether a VRF without workloads may have been concerned."""
        setting = _mapping(self._modes.get("vrfs")).get(vrf, self._modes.get("default"))
        if _mapping(setting).get("mode") != Mode.VISIBILITY or self._rules is None:
            return True
        return any(_may_act_outside(rule, vrf, self._beyond) for rule in self._rules)


def _may_act_outside(rule: dict[str, Any], vrf: str, beyond: set[str]) -> bool:
    vrfs, action = rule.get("vrfs"), rule.get("action")
    if action in (Action.ALLOW, Action.PASS) or (isinstance(vrfs, list) and vrf not in vrfs):
        return False
    sides = (rule.get("from"), rule.get("to"))
    return all(
        not isinstance(side, list) or any(isinstance(e, str) and e in beyond for e in side)
        for side in sides
    )


def _load(document: str) -> dict[str, Any]:
    try:
        return _mapping(json.loads(document))
    except (ValueError, RecursionError):
        return {}


def _endpoints(rules: Any) -> Iterator[str]:
    for rule in rules if isinstance(rules, list) else ():
        for side in ("from", "to"):
            texts = _mapping(rule).get(side)
            if isinstance(texts, list):
                yield from (text for text in texts if isinstance(text, str))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
