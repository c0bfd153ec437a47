"""No task and no callback of the loop without an owner: read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

MAKES_TASKS = {"create_task", "ensure_future", "Task", "TaskGroup", "run_coroutine_threadsafe"}
ALLOWED = {
    ("pe/supervisor.py", "TaskGroup"): "the group that owns all tasks",
    ("pe/supervisor.py", "create_task"): "the one place that starts tasks in it",
    ("controlplane/api/access/listener.py", "TaskGroup"): "nested: the two directions of a"
    " connection, owned by the connection's task",
    ("controlplane/api/access/listener.py", "create_task"): "in that nested group",
    ("controlplane/api/compute/slots.py", "create_task"): "one read, which the slot's task awaits"
    " or cancels before it goes on",
}
"""What the supervisor does not start itself, each with the reason."""

CALLBACKS = {"add_reader": 1, "add_writer": 1, "call_later": 1, "call_at": 1, "call_soon": 0}
"""Where the loop takes a callback: which argument it is."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for room in ("pe", "controlplane"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            # The worker is a process of its own, under ExaBGP's reactor.
            if not name.startswith("controlplane/speaker/worker/"):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            yield name, node


def task_makers(name: str, tree: ast.Module) -> set[tuple[str, str]]:
    return {(name, called) for called, _ in calls(tree) if called in MAKES_TASKS}


def unguarded(tree: ast.Module) -> list[int]:
    """Return lines where the loop gets a callback that ``Part.guard`` did not make."""
    guarded = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_guard(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for name, call in calls(tree):
        position = CALLBACKS.get(name)
        if position is None or len(call.args) <= position:
            continue
        callback = call.args[position]
        if not (is_guard(callback) or (isinstance(callback, ast.Name) and callback.id in guarded)):
            found.append(call.lineno)
    return found


def is_guard(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and (
        node.func.attr in ("guard", "_guard")
    )  # fmt: skip


def test_every_task_belongs_to_the_supervisor() -> None:
    found = {pair for name, tree in sources() for pair in task_makers(name, tree)}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "text", ["asyncio.create_task(x())", "loop.create_task(x())", "ensure_future(x())"]
)
def test_an_unowned_task_is_found(text: str) -> None:
    assert task_makers("pe/new.py", ast.parse(text))


def test_every_callback_of_the_loop_is_guarded() -> None:
    found = {name: lines for name, tree in sources() if (lines := unguarded(tree))}
    assert found == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("loop.add_reader(fd, self._read)", [1]),
        ("loop.call_later(1.0, self._read, 7)", [1]),
        ("loop.call_soon(self._read)", [1]),
        ("loop.add_reader(fd, self._part.guard(self._read, self._again))", []),
        ("reader = self._part.guard(self._read, self._again)\nloop.add_reader(fd, reader)", []),
    ],
)
def test_an_unguarded_callback_is_found(text: str, lines: list[int]) -> None:
    assert unguarded(ast.parse(text)) == lines
