"""Find the name and the group ids in a canonical document without reading it as a policy.

Other PEs announce the ids of a revision for as long as they enforce it; they have to be known
here even where this program does not accept the text of that revision any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from controlplane.policy.language.policy import MAX_GROUP_ID, derived_group_id
from controlplane.policy.language.syntax import ENDPOINT_WORDS


def group_ids_in(document: str) -> frozenset[int]:
    """Return the declared ids, and those derived from selectors that stand in rules.

    What is not of the expected form is left out: a text of another version may be anything.
    """
    try:
        value = json.loads(document)
    except ValueError:
        return frozenset()
    if not isinstance(value, dict):
        return frozenset()
    groups, networks = _mapping(value.get("groups")), _mapping(value.get("networks"))
    declared = {
        number
        for group in groups.values()
        if isinstance(number := _mapping(group).get("id"), int) and 0 < number <= MAX_GROUP_ID
    }
    named = {*groups, *networks, *ENDPOINT_WORDS}
    return frozenset(declared).union(
        derived_group_id(text) for text in _endpoints(value.get("rules")) if text not in named
    )


def name_in(document: str) -> str:
    """Return the name that a document gives itself, "" if there is none."""
    try:
        name = _mapping(json.loads(document)).get("name")
    except ValueError:
        return ""
    return name if isinstance(name, str) else ""


class Outline(NamedTuple):
    """What a list of revisions shows of a document."""

    name: str
    rules: int
    groups: int


def outline_of(document: str) -> Outline:
    """Count rules and declared groups, without reading the document as a policy."""
    try:
        value = _mapping(json.loads(document))
    except ValueError:
        return Outline("", 0, 0)
    name, rules = value.get("name"), value.get("rules")
    return Outline(
        name if isinstance(name, str) else "",
        len(rules) if isinstance(rules, list) else 0,
        len(_mapping(value.get("groups"))),
    )


def _endpoints(rules: Any) -> Iterator[str]:
    for rule in rules if isinstance(rules, list) else ():
        for side in ("from", "to"):
            texts = _mapping(rule).get(side)
            if isinstance(texts, list):
                yield from (text for text in texts if isinstance(text, str))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
