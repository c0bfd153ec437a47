"""Define configuration errors: the place, the problem, the cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ConfigError:
    """Describe one error. ``line`` and ``column`` count from 1; 0 if the file is unreadable."""

    file: str
    line: int
    column: int
    path: str
    problem: str
    cure: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f"{self.path}: " if self.path else ""
        cure = f"; {self.cure}" if self.cure else ""
        return _on_one_line(f"{place}: {subject}{self.problem}{cure}")


def _on_one_line(text: str) -> str:
    # A key or a value of the file may have line feeds and terminal escapes in it.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ConfigErrors(Exception):  # noqa: N818 - it holds errors, and is not one more of them
    """Carry every error of a configuration, in the order of the file."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__(f"{len(errors)} error{'s' if len(errors) != 1 else ''} in configuration")
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Describe an error before its place in the file is looked up."""

    path: KeyPath
    problem: str
    cure: str = ""


def show_path(path: KeyPath) -> str:
    """Return a key path as people write it: ``vrfs.red.ports.ce1.addresses[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if step.isprintable() else repr(step)
            text += f".{shown}" if text else shown
    return text
