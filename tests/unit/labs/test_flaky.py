"""A test that passes only when run again fails the gate, unless the checked-in list excuses it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from labs import flaky, testing
from labs.reports import Sum

TODAY = dt.date(2026, 6, 1)
FLAKY = "tests/attack/test_dos.py::test_dos_01[ipv4]"


def listed(tmp_path: Path, expires: str, test: str = FLAKY) -> list[flaky.Entry]:
    file = tmp_path / "flaky.toml"
    file.write_text(f'[[test]]\nid = "{test}"\nreason = "a race"\nexpires = {expires}\n')
    return flaky.read(file)


def test_a_listed_test_is_excused_until_its_day(tmp_path: Path) -> None:
    assert flaky.unexcused([FLAKY], listed(tmp_path, "2026-06-01"), TODAY) == []
    assert flaky.unexcused([FLAKY], listed(tmp_path, "2026-05-31"), TODAY) == [FLAKY]


def test_without_parameters_all_of_them_are_excused(tmp_path: Path) -> None:
    entries = listed(tmp_path, "2026-06-01", "tests/attack/test_dos.py::test_dos_01")
    assert flaky.unexcused([FLAKY], entries, TODAY) == []
    assert flaky.unexcused([FLAKY.replace("01", "011")], entries, TODAY) != []


@pytest.mark.parametrize(
    "text",
    [
        '[[test]]\nid = "a"\nexpires = 2026-06-01\n',
        '[[test]]\nid = "a"\nreason = "x"\nexpires = "soon"\n',
        '[[test]]\nid = "a"\nreason = ""\nexpires = 2026-06-01\n',
        "[[test]\n",
    ],
)
def test_an_entry_without_reason_or_day_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "flaky.toml"
    file.write_text(text)
    with pytest.raises(flaky.FlakyListError, match=r"flaky\.toml"):
        flaky.read(file)


def test_the_checked_in_list_is_short_and_has_not_expired() -> None:
    entries = flaky.read()
    assert len(entries) <= 5
    today = dt.datetime.now(dt.UTC).date()
    assert [entry.test for entry in entries if entry.expires < today] == []


def test_the_verdict_fails_for_a_flaky_test(capsys: pytest.CaptureFixture[str]) -> None:
    total = Sum(alone=[FLAKY], bad={FLAKY: "E  19 of 20"})
    assert testing._verdict(total, 0) == testing.FAILED
    assert "is flaky" in capsys.readouterr().out


def test_the_verdict_passes_where_nothing_failed() -> None:
    assert testing._verdict(Sum(), 0) == 0


def test_the_verdict_passes_a_listed_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = listed(tmp_path, "2999-01-01")
    monkeypatch.setattr(flaky, "read", lambda: entries)
    assert testing._verdict(Sum(alone=[FLAKY], bad={FLAKY: "E  19 of 20"}), 0) == 0
    assert FLAKY in capsys.readouterr().out
