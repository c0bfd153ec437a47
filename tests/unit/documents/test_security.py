"""docs/security.md says what is so: each requirement names tests that exist, and each attack test
belongs to a requirement that stands there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pe.selftest.catalog import NOT_TESTED

ROOT = Path(__file__).parents[3]
AREAS = ("ISO", "HIDE", "ACL", "CPP", "BGP", "LBL", "SPF", "INET", "MGMT", "TRN", "DOS", "FAIL")
ROW = re.compile(r"^\| ([A-Z]+-\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(test_\w+)`")
# What the design lists: the last number of each area.
LAST = {"ISO": 16, "HIDE": 9, "ACL": 8, "CPP": 7, "BGP": 14, "LBL": 17, "SPF": 7, "INET": 4,
        "MGMT": 11, "TRN": 3, "DOS": 9, "FAIL": 8}  # fmt: skip


def rows() -> dict[str, tuple[str, str, str]]:
    """Requirement, mechanism and tests by id."""
    text = (ROOT / "docs/security.md").read_text()
    found = ROW.findall(text)
    assert len(found) == len({name for name, *_ in found}), "an id stands there twice"
    return {name: (required, kept, shown) for name, required, kept, shown in found}


def functions(folder: str) -> set[str]:
    """Every test function below a folder."""
    return {
        node.name
        for path in (ROOT / folder).rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_requirement_is_there() -> None:
    designed = {f"{area}-{n}" for area in AREAS for n in range(1, LAST[area] + 1)}
    assert set(rows()) == designed


def test_every_requirement_names_a_test_that_exists() -> None:
    known = functions("tests")
    named = {name: set(TEST.findall(shown)) for name, (_, _, shown) in rows().items()}
    assert {name: tests for name, tests in named.items() if not tests & known} == {}


def test_every_attack_test_has_its_requirement() -> None:
    pattern = re.compile(rf"test_({'|'.join(AREAS).lower()})_(\d+)_")
    found = (pattern.match(name) for name in functions("tests/attack"))
    ids = {f"{m[1].upper()}-{int(m[2])}" for m in found if m and int(m[2])}
    assert len(ids) > 40
    assert ids - set(rows()) == set()


def test_a_test_that_bears_another_id_is_not_named_alone() -> None:
    """A row names tests of its own id where there are any."""
    known = functions("tests/attack")
    for name, (_, _, shown) in rows().items():
        area, _, number = name.partition("-")
        own = {t for t in known if t.startswith(f"test_{area.lower()}_{int(number):02}_")}
        assert not own or own & set(TEST.findall(shown)), f"{name} names none of {sorted(own)}"


def test_files_that_are_named_exist() -> None:
    text = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`((?:pe|controlplane|labs|tests)/[\w/.]*)`", text))
    assert named
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_a_selftest_leaves_out_only_what_stands_there() -> None:
    assert NOT_TESTED.keys() - rows().keys() == set()
