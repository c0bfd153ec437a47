"""Read a file into a ``NodeIntent``, or report all of its errors."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from controlplane.model.intent import NodeIntent
from pe.config.checks import cross_check
from pe.config.document import Document, NotYamlError, parse_document
from pe.config.errors import Complaint, ConfigError, ConfigErrors, show_path
from pe.config.intent import build_intent
from pe.config.schema import NodeSection
from pe.config.secrets import Keys, collect_keys
from pe.config.validation import survey
from pe.config.warnings import warnings as configuration_warnings

_LARGEST_FILE = 16 << 20


@dataclass(frozen=True, slots=True)
class Configuration:
    """Hold the intent of a valid file with its warnings."""

    intent: NodeIntent
    warnings: tuple[ConfigError, ...]


def load_config(path: Path) -> NodeIntent:
    """Read and check a pe.yaml. Raises ConfigErrors with every fault; touches nothing else."""
    return read_config(path).intent


def read_config(path: Path) -> Configuration:
    """Read and check as ``load_config`` does, with the warnings. Raises ConfigErrors."""
    text = _read(path)
    configuration = parse_config(text, str(path), path.parent)
    if _readable_by_all(path) and "md5:" in text:
        warning = Complaint((), "every user can read the MD5 keys in it", f"chmod o= {path}")
        extra = ConfigError(str(path), 1, 1, "", warning.problem, warning.cure)
        return Configuration(configuration.intent, (*configuration.warnings, extra))
    return configuration


def parse_config(text: str, file: str = "pe.yaml", folder: Path = Path()) -> Configuration:
    """Check a text as ``read_config`` does; relative md5-file paths begin at ``folder``."""
    try:
        document = parse_document(text)
    except NotYamlError as error:
        line, column = error.place
        raise ConfigErrors(
            (ConfigError(file, line, column, "", error.problem, error.cure),)
        ) from None
    node, keys = _checked(document, file, folder)
    warnings = [*keys.warnings, *configuration_warnings(node, keys)]
    return Configuration(build_intent(node, keys), _placed(warnings, document, file))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unreadable(path, "larger than 16 MB", "is it the right file?")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "") from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"byte {error.start} is not UTF-8", "save it as UTF-8") from None


def _unreadable(path: Path, problem: str, cure: str) -> ConfigErrors:
    return ConfigErrors((ConfigError(str(path), 0, 0, "", problem, cure),))


def _readable_by_all(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o004)


def _checked(document: Document, file: str, folder: Path) -> tuple[NodeSection, Keys]:
    found = survey(document)
    keys = collect_keys(found.node, folder) if found.node else Keys()
    complaints = [*found.complaints, *cross_check(found), *keys.complaints]
    errors = _placed(complaints, document, file, document.complaints)
    if errors or found.node is None:
        raise ConfigErrors(errors)
    return found.node, keys


def _placed(
    complaints: list[Complaint],
    document: Document,
    file: str,
    placed: list[tuple[tuple[int, int], Complaint]] | None = None,
) -> tuple[ConfigError, ...]:
    every = [*(placed or []), *((document.place(c.path), c) for c in complaints)]
    errors = {
        ConfigError(file, line, column, show_path(c.path), c.problem, c.cure)
        for (line, column), c in every
    }
    return tuple(sorted(errors, key=lambda e: (e.line, e.column, e.path, e.problem)))
