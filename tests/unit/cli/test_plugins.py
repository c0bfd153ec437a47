"""A router's installation has no labs: `pe` works without them and does not offer `pe lab`."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pe.cli import main as program

ROOT = Path(__file__).resolve().parents[3]


def test_lab_is_offered_where_labs_are_installed() -> None:
    assert "  lab " in CliRunner().invoke(program.main, ["--help"]).stdout


def test_without_labs_there_is_no_such_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find_spec", lambda _: None)
    assert "  lab " not in CliRunner().invoke(program.main, ["--help"]).stdout
    assert CliRunner().invoke(program.main, ["lab"]).exit_code == 2


def test_no_module_of_the_router_needs_labs_scapy_or_pytest() -> None:
    """Import every module of the router where those three cannot be imported."""
    packages = [ROOT / "pe", ROOT / "controlplane", ROOT / "proto/python/bulkhead"]
    modules = [
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for package in packages
        for path in package.rglob("*.py")
        if path.stem != "__main__"
    ]
    code = (
        "import importlib, sys\n"
        "for name in ('labs', 'scapy', 'pytest'): sys.modules[name] = None\n"
        "for name in sys.argv[1:]: importlib.import_module(name.removesuffix('.__init__'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(modules) > 100
