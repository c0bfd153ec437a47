"""The installed ExaBGP is what the worker expects, and its names are taken in one place."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.speaker import wire
from controlplane.speaker.worker import __main__ as start
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.commands import Commands
from controlplane.speaker.worker.link import Link
from controlplane.speaker.worker.outgoing import Incoming, Queue, Rib
from controlplane.speaker.worker.surface_check import (
    Asked,
    Assigned,
    Extensible,
    Function,
    Keys,
    Use,
    Value,
)

ROOM = Path(surface.__file__).parent
NAMES = [f"{use.place}-{type(use).__name__}" for use in surface.USES]


@pytest.mark.parametrize("use", surface.USES, ids=NAMES)
def test_exabgp_is_as_expected(use: Use) -> None:
    assert use.fault() == ""
    assert use.reason


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [
        ("processes", Link),
        ("api", Commands),
        ("rib", Rib("test")),
        ("outgoing", Queue),
        ("incoming", Incoming),
    ],
)
def test_what_stands_in_has_all_that_exabgp_asks_for(name: str, stand_in: object) -> None:
    (use,) = (u for u in surface.STANDS_IN if isinstance(u, Asked) and u.name == name)
    # ``fds`` is an instance's; ``withdraw`` belongs to a text command that is not there.
    lacking = [n for n in use.names.split() if not hasattr(stand_in, n)]
    assert set(lacking) <= {"fds", "withdraw"}


class Changed:
    """An ExaBGP of another release."""

    defaults = {"peer-address": None}  # noqa: RUF012
    here = 5

    def __init__(self) -> None:
        self.kept = 1

    def plain(self, one: int) -> None: ...

    def rows(self) -> Iterator[int]:
        yield 1

    async def soon(self) -> None: ...


class Slotted:
    """Takes no attribute."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("use", "fault"),
    [
        (Value(Changed, "gone", ""), "does not exist"),
        (Value(Changed, "here", "", 6), "is 5 instead of 6"),
        (Value(Changed, "here", "", 5), ""),
        (Function(Changed, "gone", "", "self"), "is no function"),
        (Function(Changed, "here", "", "self"), "is no function"),
        (Function(Changed, "plain", "", "self two"), "takes (self one) instead of (self two)"),
        (Function(Changed, "plain", "", "self one", generates=True), "is not a generator"),
        (Function(Changed, "rows", "", "self"), "is a generator"),
        (Function(Changed, "soon", "", "self"), "is asynchronous"),
        (Function(Changed, "plain", "", "self one"), ""),
        (Assigned(Changed, "kept left", ""), "not set by the constructor: left"),
        (Assigned(Changed, "kept", ""), ""),
        (Keys(Changed, "defaults", "", "peer-address peer-as"), "has no peer-as"),
        (Extensible(Slotted, "mine", ""), "instances take no attributes"),
        (Extensible(Changed, "here", ""), "exists already"),
        (
            Asked(Changed, "processes", "", (surface.loop_module,), "up"),
            "is asked for answer_error fds received signal start terminate too",
        ),
    ],
    ids=str,
)
def test_what_differs_is_named(use: Use, fault: str) -> None:
    assert use.fault() == fault


def worker_files() -> list[Path]:
    return [path for path in ROOM.glob("*.py") if path.name != "surface.py"]


@pytest.mark.parametrize("path", worker_files(), ids=lambda path: path.name)
def test_only_the_surface_imports_exabgp(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        assert not [m for m in modules if m.partition(".")[0] == "exabgp"]


def private_names(tree: ast.AST) -> set[str]:
    """What a file takes of any object under a private name that it has not made itself."""
    made, taken = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
                made.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                made.add(name)
            case ast.Attribute(attr=name):
                taken.add(name)
    return {name for name in taken - made if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize("path", worker_files(), ids=lambda path: path.name)
def test_private_names_are_listed(path: Path) -> None:
    listed = {name for use in surface.USES for name in use.name.split()}
    assert private_names(ast.parse(path.read_text())) - listed == set()


def test_every_private_name_would_be_found() -> None:
    assert private_names(ast.parse("peer._hidden(self._own)\nself._own = 1")) == {"_hidden"}


def test_only_what_is_listed_can_be_replaced() -> None:
    with pytest.raises(KeyError, match="REPLACED"):
        surface.replace(surface.Peer, "established", None)


@pytest.fixture
def reports() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def refused(reports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a worker reports that does not start."""
    monkeypatch.setattr(start, "end_with", lambda _: None)
    assert start.main(["1", "0", str(reports[1])]) == os.EX_CONFIG
    lines = os.read(reports[0], 4096).splitlines()
    (report,) = [msgspec.json.decode(line, type=wire.Report) for line in lines]
    assert isinstance(report, wire.Unusable)
    return report.reason


def test_a_worker_does_not_start_with_another_exabgp(
    reports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface.Peer, "teardown", Changed.plain)
    monkeypatch.delattr(surface.Peer, "reestablish")
    assert refused(reports, monkeypatch) == (
        "ExaBGP 5.0.15 does not fit this worker: exabgp.reactor.peer.Peer.teardown takes "
        "(self one) instead of (self code restart) (and 1 more)"
    )


def test_nor_without_a_module(reports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "controlplane.speaker.worker.surface", None)
    monkeypatch.delattr("controlplane.speaker.worker.surface")
    assert "ExaBGP 5.0.15 does not fit this worker: " in refused(reports, monkeypatch)
