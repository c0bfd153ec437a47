"""What a node keeps of a root that has everything, and what it takes from it for good."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pe.process.privileges import DAC_READ_SEARCH, NEEDED, mask, needed, others_reach

ASK = """
import pe.process.privileges as p, sys
kept = p.drop()
print(sorted(kept) == sorted(p.needed()))
sys.stdout.write(open("/proc/self/status").read())
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can enter, as the test's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_what_is_needed_depends_on_where_it_runs_from(public: Path) -> None:
    program = public / "home" / "python"
    program.parent.mkdir()
    program.write_text("")
    link = public / "link"
    link.symlink_to(program)
    for mode, kept in ((0o755, NEEDED), (0o700, NEEDED | {DAC_READ_SEARCH})):
        program.parent.chmod(mode)
        assert needed(program) == needed(link) == kept
        assert others_reach(program) == (mode == 0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to give up")
def test_root_gives_up_the_rest_and_the_way_back() -> None:
    command = [sys.executable, "-c", ASK]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    same, _, status = out.partition("\n")
    found = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    all_of_them = f"{mask(needed()):016x}"
    assert same == "True"
    assert {found[k] for k in ("CapPrm", "CapEff", "CapBnd")} == {all_of_them}
    assert {found[k] for k in ("CapInh", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user id")
def test_who_has_nothing_keeps_nothing() -> None:
    """An unprivileged `pe run`, as in a test, is not kept from running."""
    ask = "import os; os.setgid(65534); os.setuid(65534)\n" + ASK.replace("p.needed()", "()")
    preload = "import pe.process.privileges\n" + ask
    command = [sys.executable, "-c", preload]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.startswith("True\n")
