"""The word list finds what it lists, in code and in prose."""

from pathlib import Path

import pytest

from tests import words


def test_a_hit_names_file_line_and_the_word_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / "x.md").write_text("A peer.\nNoone answers.\n")
    assert list(words.check("x.md", {r"\bnoone\b": "no peer"})) == ["x.md:2: Noone: say no peer"]
    assert list(words.check("x.md", {r"\banyone\b": "a peer"})) == []


def test_words_inside_names_are_hits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / "x.py").write_text("def ask_noone(noone): ...\n")
    assert len(list(words.check("x.py", {r"\bnoone\b": "no peer"}))) == 2
    (tmp_path / "x.py").write_text("def noones(): ...\n")
    assert list(words.check("x.py", {r"\bnoone\b": "no peer"})) == []
