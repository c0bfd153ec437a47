"""What lab tests add up to, and which are tried once more."""

from __future__ import annotations

from pathlib import Path

from labs import reports

CASE = '<testcase classname="tests.attack.test_a" name="{}" time="1.5">{}</testcase>'


def written(file: Path, *cases: str) -> Path:
    bad = sum("<failure" in case for case in cases)
    text = "".join(cases)
    file.write_text(
        f'<testsuites><testsuite tests="{len(cases)}" failures="{bad}" errors="0" skipped="0">'
        f"{text}</testsuite></testsuites>"
    )
    return file


GOOD, BAD = (
    CASE.format("test_x[4-a]", ""),
    CASE.format("test_y", "<failure>x\ny = 2\nE  is 3</failure>"),
)


def test_failures_are_named_as_pytest_takes_them(tmp_path: Path) -> None:
    report = written(tmp_path / reports.FIRST, GOOD, BAD)
    assert reports.failed(report) == ["tests/attack/test_a.py::test_y"]


def test_what_failed_is_said(tmp_path: Path) -> None:
    written(tmp_path / reports.FIRST, GOOD, BAD)
    found = reports.add_up([tmp_path, tmp_path / "nothing"])
    assert str(found) == "1 passed, 1 failed, 0 skipped"
    assert found.seconds == {"tests/attack/test_a.py": 3.0}
    assert found.bad == {"tests/attack/test_a.py::test_y": "x\ny = 2\nE  is 3"}


def test_of_long_words_the_end_is_kept(tmp_path: Path) -> None:
    long = "\n".join(f"line {number}" for number in range(99))
    written(tmp_path / reports.FIRST, CASE.format("test_y", f"<failure>{long}</failure>"))
    (words,) = reports.add_up([tmp_path]).bad.values()
    assert words.splitlines()[-1] == "line 98"
    assert len(words.splitlines()) == reports.LINES


def test_what_passed_alone_is_failed_and_named(tmp_path: Path) -> None:
    written(tmp_path / reports.FIRST, GOOD, BAD)
    written(tmp_path / reports.AGAIN, CASE.format("test_y", ""))
    found = reports.add_up([tmp_path])
    assert str(found) == "1 passed, 1 failed, 0 skipped"
    assert found.alone == ["tests/attack/test_a.py::test_y"]


def test_what_fails_alone_too_has_failed(tmp_path: Path) -> None:
    written(tmp_path / reports.FIRST, GOOD, BAD)
    written(tmp_path / reports.AGAIN, BAD)
    assert str(reports.add_up([tmp_path])) == "1 passed, 1 failed, 0 skipped"
