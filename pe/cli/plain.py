"""Messages as plain values for JSON: what protobuf's own JSON form spells for machines only
(``SESSION_STATE_ESTABLISHED``, 64-bit numbers as text) in the words and numbers of the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click


def print_json(messages: Iterable[Any]) -> None:
    """Print messages as one JSON array, an element a line, with every field."""
    separator = "["
    for message in messages:
        click.echo(separator + as_object(message), nl=False)
        separator = ",\n "
    click.echo("[]" if separator == "[" else "]")


def as_object(message: Any) -> str:
    """Return a message as JSON: all fields by the contract's names, enums as lower-case words."""
    return json.dumps(plain(message))


def plain(message: Any) -> dict[str, Any]:
    """Return a message as a dict. An absent optional field is null."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_one(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _one(value, field)


def _one(value: Any, field: Any) -> Any:
    if field.enum_type is not None:
        return word(field.enum_type, value)
    if field.message_type is not None:
        return plain(value)
    return value.hex() if isinstance(value, bytes) else value


def word(enum: Any, number: int) -> str:
    """Return ``held-down`` for ``SESSION_STATE_HELD_DOWN``; an unknown number as it is."""
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    # Every value begins with what the UNSPECIFIED one has before that word.
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix).lower().replace("_", "-"))
