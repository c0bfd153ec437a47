"""YAML or JSON text -> plain values, with the line of every field.

Only maps, lists, text, integers, true/false and null: no `yes`, no sexagesimal numbers, no
tags, no anchors (an anchored bomb costs nothing to write). A key given twice is a fault,
because YAML would silently keep the last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from controlplane.policy.language.problem import Problem

Value = dict[str, "Value"] | list["Value"] | str | int | bool | None

MAX_DEPTH = 20
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True)
class Located:
    """A document's value, the line (1-based) of each path, and what was wrong already."""

    value: Value = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fault(self, path: str, line: int, message: str, cure: str = "") -> None:
        """Record a problem."""
        self.problems.append(Problem(path, message, cure, line))


def child(path: str, key: str | int) -> str:
    """Return the path of a field or list element of `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def load(text: str) -> Located:
    """Read a document; syntax faults are in `problems`, never raised."""
    located = Located()
    try:
        # libyaml: twenty times as fast as PyYAML's own scanner, whose time is quadratic in the
        # depth of `[[[[...`, so that a caller who may check policies could keep it busy a minute.
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except UnicodeEncodeError:
        located.fault("", 0, "not UTF-8")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        line = min(line, text.count("\n") + 1)  # the end of the text is not on a line after it
        located.fault("", line, f"not YAML or JSON: {error.problem}", "check indent and quotes")
    except yaml.YAMLError as error:
        located.fault("", 0, f"not YAML or JSON: {str(error).splitlines()[0]}")
    else:
        located.value = _value(node, "", located, set()) if node is not None else {}
    return located


def _value(node: yaml.Node, path: str, out: Located, seen: set[int], depth: int = 1) -> Value:
    line = node.start_mark.line + 1
    out.lines.setdefault(path, line)
    if depth > MAX_DEPTH:
        out.fault(path, line, "too deeply nested")
        return None
    if id(node) in seen:
        out.fault(path, line, "anchors and aliases are not supported", "write the value out")
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, out, seen, depth)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, child(path, index), out, seen, depth + 1)
            for index, item in enumerate(node.value)
        ]
    return _scalar(node)


def _mapping(
    node: yaml.MappingNode, path: str, out: Located, seen: set[int], depth: int
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            out.fault(path, line, "a key must be a word")
            continue
        key = str(key_node.value)
        place = child(path, key)
        if key in found:
            out.fault(place, line, "given twice", "merge the two")
            continue
        out.lines[place] = line
        found[key] = _value(value_node, place, out, seen, depth + 1)
    return found


def _scalar(node: yaml.Node) -> Value:
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
