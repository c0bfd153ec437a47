"""Check code and prose against the word list: ``python -m tests.words [PATH...]``.

The list (``tests/words.toml``) has the private words that the code once used, each with the
field's word. A hit is printed as ``FILE:LINE: WORD: say ...``; the exit status is 1 if there is
one. Generated code and the changelog, which lists former names, are not read.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/words.toml"
READ = ("*.py", "*.md", "*.proto", "*.toml", "*.sh", "*.service", "Makefile")
NOT_READ = (
    "proto/python/",
    "tests/words.toml",
    "tests/words.py",
    "CHANGELOG.md",
    "perf/report.md",
    # Table names of former versions:
    "controlplane/store/schema.py",
    "tests/unit/store/test_embedded_store.py",
)


def main(argv: Sequence[str]) -> int:
    """Print all hits; 1 if there are any."""
    words = tomllib.loads(LIST.read_text())["words"]
    hits = [hit for path in argv or _files() for hit in check(path, words)]
    print("\n".join(hits) if hits else f"words: no hit of {len(words)} words")
    if hits:
        print(f"words: {len(hits)} hits; CONTRIBUTING.md says how the prose is written")
    return 1 if hits else 0


def check(path: str, words: dict[str, str]) -> Iterator[str]:
    """Yield the hits of one file."""
    expression = re.compile("|".join(f"({pattern})" for pattern in words), re.IGNORECASE)
    instead = list(words.values())
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        hits: dict[int, str] = {}
        for text in (line, line.replace("_", " ")):  # words of names, too
            for found in expression.finditer(text):
                say = instead[(found.lastindex or 1) - 1]
                hits.setdefault(found.start(), f"{path}:{number}: {found[0]}: say {say}")
        yield from (hits[at] for at in sorted(hits))


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *READ], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    return [path for path in listed if not path.startswith(NOT_READ)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
