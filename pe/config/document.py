"""Parse YAML into plain data with the place of each value.

Scalars stay text: YAML 1.1 would read the route distinguisher ``65000:1`` as the number 3900001
(base 60), and the socket mode ``0660`` as 432.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.composer import Composer

from pe.config.errors import Complaint, KeyPath

Place: TypeAlias = tuple[int, int]
Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str | None"

_STANDARD = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _STANDARD + name
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)
_DEEPEST = 32


class NotYamlError(Exception):
    """Report a text that is no YAML; ``place`` is where the parser stopped."""

    def __init__(self, place: Place, problem: str, cure: str) -> None:
        super().__init__(problem)
        self.place, self.problem, self.cure = place, problem, cure


@dataclass(slots=True)
class Document:
    """Hold the data, the place of every key path in it, and the errors of its form."""

    tree: Tree = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    complaints: list[tuple[Place, Complaint]] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Return the place of a path, or of the nearest section above it that is in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def parse_document(text: str) -> Document:
    """Read one YAML document; NotYamlError if it is none. What it holds twice is a complaint."""
    document = Document()
    root = _compose(text)
    if root is not None:
        _refuse_aliases(root, document)
        document.tree = _plant(root, (), document)
    return document


class _Loader(Composer, yaml.CSafeLoader):
    """libyaml's parser for the events, several times as fast as PyYAML's own, under PyYAML's
    composer, whose recursion has a limit."""

    def __init__(self, stream: str) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        Composer.__init__(self)


def _compose(text: str) -> yaml.Node | None:
    try:
        return _root(text, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError, IndexError, OverflowError):
        return _compose_slowly(text)


def _root(text: str, loader: Any) -> yaml.Node | None:
    node: yaml.Node | None = yaml.compose(text, Loader=loader)
    return node


def _compose_slowly(text: str) -> yaml.Node | None:
    """Parse a text that libyaml refuses with PyYAML's own parser, whose errors say more."""
    try:
        node = _root(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _translate(error) from None
    except yaml.reader.ReaderError as error:
        raise NotYamlError(
            _position(text, error.position),
            f"character {error.character!r} is not allowed in YAML",
            "remove it, or write it as an escape in double quotes",
        ) from None
    except RecursionError:
        raise NotYamlError(
            (1, 1), "nested too deeply", f"at most {_DEEPEST} levels make sense"
        ) from None
    except (ValueError, IndexError, OverflowError) as error:  # "\Uffffffff" gets as far as chr()
        raise NotYamlError((1, 1), f"not readable as YAML: {error}", "") from None
    return node


def _position(text: str, position: int) -> Place:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def _translate(error: yaml.MarkedYAMLError) -> NotYamlError:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or "not readable as YAML"
    if "'\\t'" in problem:
        return NotYamlError(place, "a tab where YAML wants spaces", "indent with spaces")
    if "single document" in str(error.context or ""):
        return NotYamlError(place, "a second document begins here", "remove the '---' line")
    context = f" {error.context}" if error.context else ""
    return NotYamlError(place, f"not readable as YAML: {problem}{context}", "")


def _refuse_aliases(root: yaml.Node, document: Document) -> None:
    """Refuse aliases, which can expand a file without bound. An alias shares its node."""
    seen: set[int] = set()
    queue: list[yaml.Node] = [root]
    while queue:
        node = queue.pop()
        if id(node) in seen:
            problem = "YAML anchors and aliases are not taken here"
            document.complaints.append((_start(node), Complaint((), problem, "write it out")))
            continue
        seen.add(id(node))
        queue.extend(_children(node))


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _start(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _plant(node: yaml.Node, path: KeyPath, document: Document) -> Tree:
    document.places.setdefault(path, _start(node))
    if len(path) > _DEEPEST:
        _complain(document, node, path, "nested too deeply", "see the documented keys")
        return None
    if node.tag not in _PLAIN_TAGS:
        _complain(document, node, path, f"the tag {node.tag} is not taken here", "remove it")
    if isinstance(node, yaml.MappingNode):
        return _plant_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plant(item, (*path, index), document) for index, item in enumerate(node.value)]
    return None if node.tag == f"{_STANDARD}null" else str(node.value)


def _plant_mapping(node: yaml.MappingNode, path: KeyPath, document: Document) -> Tree:
    tree: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _complain(document, key_node, path, "a key must be a plain word", "")
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in tree:
            first = document.places[here][0]
            problem = f"'{key}' is given twice, first in line {first}"
            _complain(document, key_node, here, problem, "keep one")
            continue
        scalar = isinstance(value_node, yaml.ScalarNode) and value_node.value
        document.places[here] = _start(value_node if scalar else key_node)
        tree[key] = _plant(value_node, here, document)
    return tree


def _complain(document: Document, node: yaml.Node, path: KeyPath, problem: str, cure: str) -> None:
    document.complaints.append((_start(node), Complaint(path, problem, cure)))
