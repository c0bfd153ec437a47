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
# Not `010`, which is eight to YAML 1.1 and ten to people, and no digits but ours.
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_PLAIN_TAGS = re.compile(
    r"tag:yaml\.org,2002:(?:str|int|float|bool|null|timestamp|merge|value|map|seq)"
)
_UNPRINTABLE = re.compile("[^\t\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What the reader of YAML 1.1 refuses (section 5.1)."""
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True)
class Located:
    """A document's value, the line (1-based) of each path, and what was wrong already."""

    value: Value = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fault(self, path: str, line: int, message: str, cure: str) -> None:
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
    except UnicodeEncodeError as error:
        located.fault("", _line_at(text, error.start), "not UTF-8", "save the document as UTF-8")
    except yaml.MarkedYAMLError as error:
        located.problems.append(_syntax_fault(text, error))
    except yaml.reader.ReaderError as error:
        line = next((n for n, row in enumerate(text.split("\n"), 1) if _UNPRINTABLE.search(row)), 1)
        what = f"not YAML or JSON: {error.reason}"
        located.fault("", line, what, "remove the character, or write it as \\xNN in quotes")
    else:
        located.value = _value(node, "", located, set()) if node is not None else {}
    return located


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _syntax_fault(text: str, error: yaml.MarkedYAMLError) -> Problem:
    """Return what libyaml says, with a tab called a tab: it starts no indentation in YAML."""
    rows = text.split("\n")
    number = error.problem_mark.line if error.problem_mark else 0
    number = min(number, len(rows) - 1)  # the end of the text is not on a line after it
    indent = rows[number][: len(rows[number]) - len(rows[number].lstrip())]
    if "\t" in indent:
        what, cure = "a tab in the indentation", "indent with spaces"
    else:
        what, cure = f"not YAML or JSON: {error.problem}", "check indent and quotes"
    return Problem("", what, cure, number + 1)


def _value(node: yaml.Node, path: str, out: Located, seen: set[int], depth: int = 1) -> Value:
    line = node.start_mark.line + 1
    out.lines.setdefault(path, line)
    if depth > MAX_DEPTH:
        out.fault(path, line, "too deeply nested", f"at most {MAX_DEPTH} levels")
        return None
    if not _PLAIN_TAGS.fullmatch(node.tag):
        out.fault(path, line, f"the tag {node.tag} is not supported", "write the value without it")
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
            out.fault(path, line, "a key must be a word", "write KEY: VALUE")
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
