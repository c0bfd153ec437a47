"""Name what the user typed in a refusal: options and arguments, not the fields of the API."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

_FIELD = re.compile(r"(?:\w+\.)*(?P<name>\w+)(?:\[(?P<at>[^]]*)])?")
_OTHERWISE = {"set": "tags", "unset": "tags", "expected_generation": "generation"}
"""Fields whose parameter has another name than they."""


def by_typed_names(text: str, fields: Iterable[str], command: click.Command) -> str:
    """Return a refusal, a line for each fault as the node wrote it, with the fields at the
    beginning of its lines replaced by the options and arguments of ``command``."""
    known = {field: name for field in fields if (name := typed_name(field, command))}
    return "\n".join(_line(line, known) for line in text.split("\n"))


def _line(line: str, known: dict[str, str]) -> str:
    field, colon, rest = line.partition(": ")
    return f"{known[field]}: {rest}" if colon and field in known else line


def typed_name(field: str, command: click.Command) -> str:
    """Return ``--address`` for ``workload.addresses[1]``, ``--from`` for ``filter.source``,
    ``TAGS env`` for ``set[env]``; "" where the command has no such parameter."""
    found = _FIELD.fullmatch(field)
    if found is None:
        return ""
    wanted = _OTHERWISE.get(found["name"], found["name"])
    parameter = next((each for each in command.params if each.name == wanted), None)
    if parameter is None:
        return ""
    name = parameter.human_readable_name
    if isinstance(parameter, click.Option):
        name = max(parameter.opts, key=len)
    key = found["at"]
    return f"{name} {key}" if key and not key.isdecimal() else name
