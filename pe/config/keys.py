"""Suggest a key of the schema for an unknown key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from functools import cache

from pe.config.errors import KeyPath
from pe.config.schema import NodeSection, Section, kebab


def suggest(path: KeyPath) -> str:
    """Return the cure for an unknown key: a similar key, its section, or the keys known here."""
    key, known = str(path[-1]), known_keys(path[:-1])
    near = difflib.get_close_matches(kebab(key.lower()), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    sections = [section for section, keys in _sections().items() if key in keys]
    if sections:
        return f"'{key}' belongs under {' or '.join(sections)}"
    return f"known here: {', '.join(known)}" if known else ""


def known_keys(path: KeyPath) -> list[str]:
    """Return the keys that the section at ``path`` takes, in the order of the schema."""
    section = _section_at(path)
    return list(_fields(section)) if section else []


def _fields(section: type[Section]) -> dict[str, object]:
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def _section_at(path: KeyPath) -> type[Section] | None:
    kind: object = NodeSection
    for step in path:
        kind = _step(kind, step)
    return _as_section(kind)


def _step(kind: object, step: str | int) -> object:
    section = _as_section(kind)
    if section:
        return _fields(section).get(str(step))
    return next((part for part in _parts(kind) if _as_section(part)), None)


def _as_section(kind: object) -> type[Section] | None:
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
        return kind if issubclass(kind, Section) else None
    if typing.get_origin(kind) in (types.UnionType, typing.Union, typing.Annotated):
        return next((s for s in map(_as_section, typing.get_args(kind)) if s), None)
    return None


def _parts(kind: object) -> Iterator[object]:
    """Yield the members of a list or dict type, Annotated or optional as it may be."""
    yield from typing.get_args(kind)
    for part in typing.get_args(kind):
        yield from typing.get_args(part)


@cache
def _sections() -> dict[str, list[str]]:
    """Return the keys of each section, by the section's path as people write it."""
    found: dict[str, list[str]] = {}
    _collect(NodeSection, "the top level", found)
    return found


def _collect(section: type[Section], where: str, found: dict[str, list[str]]) -> None:
    fields = _fields(section)
    found[where] = list(fields)
    for key, kind in fields.items():
        inner = _as_section(kind)
        child = inner or next((s for s in map(_as_section, _parts(kind)) if s), None)
        if child:
            step = key if inner else f"{key}.*"
            _collect(child, step if where == "the top level" else f"{where}.{step}", found)
