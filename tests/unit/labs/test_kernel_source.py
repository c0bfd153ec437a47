"""Which kernel source is taken, on machines whose package lists are old, empty or of Ubuntu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labs.kernel import build

Machine = Callable[[dict[str, str], dict[str, str]], Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose lists name some packages, and others once they are fetched anew."""

    def made(listed: dict[str, str], after_refresh: dict[str, str]) -> Path:
        for name, packages in (("old", listed), ("new", after_refresh)):
            lines = "".join(f"{package} {version}\n" for package, version in packages.items())
            (tmp_path / name).write_text(lines)
        (tmp_path / "lists").write_text((tmp_path / "old").read_text())
        _program(
            tmp_path / "installer", f"cp {tmp_path}/new {tmp_path}/lists; touch {tmp_path}/ran"
        )
        _program(tmp_path / "bin/dpkg-query", "exit 1")
        _program(
            tmp_path / "bin/apt-cache",
            f'[ "$1" = search ] && {{ sed "s/ .*/ - source/" {tmp_path}/lists; exit; }}\n'
            f'echo "  Candidate: $(sed -n "s/^$2 //p" {tmp_path}/lists)"',
        )
        monkeypatch.setattr(build, "INSTALLER", tmp_path / "installer")
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        monkeypatch.setenv("BULKHEAD_CACHE", str(tmp_path / "cache"))
        build._refresh_lists.cache_clear()
        return tmp_path

    return made


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


NEW = {"linux-source-6.1": "6.1.176", "linux-source-6.12": "6.12.117"}
OLD = {"linux-source-6.1": "6.1.170"}


def test_old_lists_are_fetched_before_an_old_kernel_is_built(machine: Machine) -> None:
    machine(OLD, NEW)
    assert build.find_source() == build.Source("linux-source-6.12", "6.12.117")


def test_no_lists_at_all(machine: Machine) -> None:
    machine({}, NEW)
    assert build.find_source().version == "6.12.117"


def test_what_is_listed_is_not_fetched_again(machine: Machine) -> None:
    place = machine(NEW, {})
    assert build.find_source().version == "6.12.117"
    assert not (place / "ran").exists()


def test_the_newest_where_the_preferred_one_does_not_exist(machine: Machine) -> None:
    ubuntu = {"linux-source-6.8.0": "6.8.0-49", "linux-source-6.11.0": "6.11.0-9"}
    machine(ubuntu, ubuntu)
    assert build.find_source() == build.Source("linux-source-6.11.0", "6.11.0-9")


def test_a_kernel_that_is_built_is_used_without_a_word(machine: Machine) -> None:
    place = machine(OLD, NEW)
    built = build.path_of(build.Source("linux-source-6.1", "6.1.170"))
    built.parent.mkdir(parents=True)
    built.touch()
    assert build.find_source().version == "6.1.170"
    assert not (place / "ran").exists()


def test_none(machine: Machine) -> None:
    machine({}, {})
    with pytest.raises(build.BuildError, match="BULKHEAD_UML_KERNEL"):
        build.find_source()
