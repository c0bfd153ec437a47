"""The labs that come with the project, one file each, found by their file's ``LAB``."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from labs.topology import Lab


class UnknownLabError(LookupError):
    """There is no such lab; the message names those that there are."""


def names() -> list[str]:
    """Return the names of all labs, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Lab:
    """Return the lab called ``name``, or defined by the Python file at the path ``name``.

    Raises UnknownLabError.
    """
    if name.endswith(".py"):
        return _lab_of(_from_file(Path(name)), name)
    if name not in names():
        raise UnknownLabError(f"no lab is called {name}; there are: {', '.join(names())}")
    return _lab_of(importlib.import_module(f"{__name__}.{name}"), name)


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise UnknownLabError(f"no lab file at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lab_of(module: ModuleType, name: str) -> Lab:
    lab = getattr(module, "LAB", None)
    if not isinstance(lab, Lab):
        raise UnknownLabError(f"{name} defines no LAB")
    return lab
