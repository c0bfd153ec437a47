"""Validate a document against the schema, and the valid remainder if parts do not fit.

Schema errors must not hide errors that the cross checks find: an invalid value is cut out (and
replaced by a stand-in if the schema requires it), so that the cross checks still see the rest.
``Survey.damaged`` lists the paths that they must not rely on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pe.config.document import Document, Tree
from pe.config.errors import Complaint, KeyPath
from pe.config.keys import suggest
from pe.config.schema import NodeSection

_STAND_INS = {"asn": "65535", "loopback": "192.0.2.255", "rd": "65535:4294967295"}


@dataclass(slots=True)
class Survey:
    """Hold the typed sections, their errors, and the paths that had to be cut out."""

    node: NodeSection | None
    complaints: list[Complaint] = field(default_factory=list)
    damaged: set[KeyPath] = field(default_factory=set)

    def intact(self, path: KeyPath) -> bool:
        """Return False if something at, above or below ``path`` was cut out."""
        return not any(_related(path, broken) for broken in self.damaged)


def _related(one: KeyPath, other: KeyPath) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def survey(document: Document) -> Survey:
    """Validate a document against the schema. Never raises; ``node`` is None if nothing is left."""
    result = Survey(None)
    tree: Tree = {} if document.tree is None else copy.deepcopy(document.tree)
    for attempt in range(24):
        try:
            result.node = NodeSection.model_validate(tree)
        except ValidationError as error:
            faults = [(path, detail) for path, detail in _faults(error)]
            if attempt == 0:
                result.complaints = [_complaint(path, detail) for path, detail in faults]
            if not _cut(tree, (path for path, _ in faults), result.damaged):
                return result
        else:
            return result
    return result


def _faults(error: ValidationError) -> Iterable[tuple[KeyPath, Mapping[str, Any]]]:
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != "[key]")
        yield path, detail


def _complaint(path: KeyPath, detail: Mapping[str, Any]) -> Complaint:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "fault":
        return Complaint(path, str(context["problem"]), str(context["cure"]))
    if kind == "extra_forbidden":
        return Complaint(path, f"unknown key '{path[-1]}'", suggest(path))
    if kind == "missing":
        return Complaint(path[:-1], f"'{path[-1]}' is missing", f"add '{path[-1]}: ...'")
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return Complaint(path, "must be a section of keys and values", _section_cure(path))
    if kind == "list_type":
        return Complaint(path, "must be a list", "write one '- ...' a line, or [a, b]")
    return Complaint(path, str(detail["msg"]).lower(), "")


def _section_cure(path: KeyPath) -> str:
    named = {"vrfs": "NAME", "ports": "NAME", "core-ports": "NAME"}
    addressed = {"peers": "ADDRESS", "neighbors": "ADDRESS"}
    word = {**named, **addressed}.get(str(path[-1])) if path else None
    return f"write '{word}:' with its keys indented below" if word else "write 'key: value' lines"


def _cut(tree: Tree, paths: Iterable[KeyPath], damaged: set[KeyPath]) -> bool:
    """Remove or replace what is at fault, deepest and last first; False if nothing can be done."""
    done = False
    for path in sorted(set(paths), key=_depth, reverse=True):
        if path:
            damaged.add(path)
            done = _cut_one(tree, path) or done
    return done


def _depth(path: KeyPath) -> tuple[int, tuple[str, ...]]:
    return len(path), tuple(f"{step:09}" if isinstance(step, int) else step for step in path)


def _cut_one(tree: Tree, path: KeyPath) -> bool:
    holder, parents = _holder(tree, path)
    stand_in = _STAND_INS.get(str(path[-1]))
    if isinstance(holder, dict) and stand_in and holder.get(str(path[-1])) != stand_in:
        holder[str(path[-1])] = stand_in
        return True
    if isinstance(holder, dict) and path[-1] in holder:
        del holder[str(path[-1])]
        return True
    if isinstance(holder, list) and isinstance(path[-1], int) and path[-1] < len(holder):
        del holder[path[-1]]
        return True
    return bool(parents) and _cut_one(tree, parents)


def _holder(tree: Tree, path: KeyPath) -> tuple[Tree, KeyPath]:
    """Return the container of a path's last step, and the container's path."""
    for step in path[:-1]:
        if isinstance(tree, dict) and isinstance(step, str):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None, path[:-1]
    return tree, path[:-1]
