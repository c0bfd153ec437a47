"""The audit log's chain: over restarts, crashes, full disks and rotated files."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from controlplane.api.access import audit_chain
from controlplane.api.access.audit import AuditLog
from controlplane.api.access.audit_chain import (
    MOST_FILES,
    Anchor,
    AuditFile,
    Break,
    digest,
    first_break,
    rotated,
    verify,
)
from pe.cli.main import main
from tests.parts import LonePart


def write(path: Path, *events: str) -> None:
    async def run() -> None:
        log = AuditLog(path, clock=lambda: 1.5)
        for event in events:
            await log.write(event=event)

    asyncio.run(run())


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one", "two")
    write(path, "three")
    lines = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["one", "two", "three"]
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]
    assert first_break(lines) is None
    assert path.stat().st_mode & 0o777 == 0o600


def line_of(found: Break | None) -> int:
    assert found is not None
    return found.line


def test_a_changed_and_a_missing_line_break_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one", "two", "three")
    lines = path.read_text().splitlines()
    assert line_of(first_break([lines[0], lines[1].replace("two", "tow"), lines[2]])) == 3
    assert line_of(first_break([lines[0], lines[2]])) == 2
    assert line_of(first_break(lines[1:])) == 1
    assert line_of(first_break([lines[0], lines[1].replace('"number":2', '"number":7')])) == 2


def test_a_line_torn_by_a_crash_shows_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one")
    with path.open("a") as stream:
        stream.write('{"time":1.5,"ev')
    write(path, "two")
    lines = path.read_text().splitlines()
    assert json.loads(lines[2])["event"] == "two"
    assert line_of(first_break(lines)) == 2


def test_text_from_outside_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, 'x"\n{"event":"forged"}\u2028')
    assert len(path.read_bytes().splitlines()) == 1


def test_a_log_of_a_former_version_goes_on(tmp_path: Path) -> None:
    path, before = tmp_path / "audit.log", audit_chain.GENESIS
    for event in ("one", "two"):
        line = json.dumps({"time": 1.0, "event": event, "previous": before})
        before = digest(line)
        with path.open("a") as stream:
            stream.write(line + "\n")
    write(path, "three")
    assert verify(path) == (Anchor(3, digest(path.read_text().splitlines()[-1])), "")


# -- what a disk does ---------------------------------------------------------------------------


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
    file = AuditFile(tmp_path / "audit.log")
    file.append({"event": "one"})
    file.append({"event": "two"})
    assert first_break(file.path.read_text().splitlines()) is None
    assert len(file.path.read_text().splitlines()) == 2


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    file = AuditFile(tmp_path / "audit.log")
    file.append({"event": "one"})
    before, real, calls = file.path.read_bytes(), getattr(os, call), 0

    def failing(descriptor: int, *data: bytes) -> int:
        nonlocal calls
        calls += 1
        if call == "write" and calls == 1:
            return int(real(descriptor, data[0][:9]))
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(OSError, match=os.strerror(error)):
            file.append({"event": "two"})
    assert file.path.read_bytes() == before
    file.append({"event": "three"})
    assert first_break(file.path.read_text().splitlines()) is None


def test_a_caller_that_goes_away_while_its_line_is_written_breaks_no_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread goes on writing, and the next line once followed the same one as this."""
    synced, gate = os.fsync, threading.Semaphore(0)
    writing = threading.Semaphore(0)

    def held(descriptor: int) -> None:
        writing.release()
        gate.acquire(timeout=10)
        synced(descriptor)

    path = tmp_path / "audit.log"

    async def run() -> None:
        log = AuditLog(path)
        await log.write(event="first")
        monkeypatch.setattr(os, "fsync", held)
        gone = asyncio.create_task(log.write(event="gone"))
        await asyncio.to_thread(writing.acquire)
        gone.cancel()
        await asyncio.wait([gone])
        following = asyncio.create_task(log.write(event="following"))
        await asyncio.to_thread(writing.acquire, timeout=0.2)  # it waits; it once was here now
        gate.release(2)
        await following

    asyncio.run(run())
    last, broken = verify(path)
    assert (last.number, broken) == (3, "")


LIMITED = """
import resource, sys
from pathlib import Path
from controlplane.api.access.audit_chain import AuditFile
file = AuditFile(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
kept = 0
while True:
    try:
        file.append({"event": "x" * 100})
    except OSError as error:
        print(kept, error.strerror)
        break
    kept += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append({"event": "room again"})
"""


@pytest.mark.parametrize("limit", [700, 1000, 1234, 2001])
def test_at_the_limit_of_a_files_size_the_chain_stays_whole(tmp_path: Path, limit: int) -> None:
    """The kernel writes what fits and returns how much: in the middle of a line."""
    path = tmp_path / "audit.log"
    command = [sys.executable, "-c", LIMITED, str(path), str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = path.read_text().splitlines()
    assert first_break(lines) is None
    assert len(lines) == int(said.split()[0]) + 1
    assert "File too large" in said


# -- rotation and anchors -----------------------------------------------------------------------


def test_the_chain_goes_on_over_rotated_files_and_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for number in range(20):
        AuditFile(path, rotate_bytes=600).append({"event": f"e{number}"})
    assert [each.name for each in rotated(path)][:2] == ["audit.log.1", "audit.log.2"]
    last, broken = verify(path)
    assert (last.number, broken) == (20, "")
    second = rotated(path)[1]
    second.write_text(second.read_text().replace("e4", "e5"))
    assert second.name in verify(path)[1]


def test_a_rotation_that_fails_leaves_no_line_of_a_change_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AuditFile(tmp_path / "audit.log", rotate_bytes=100)
    file.append({"event": "one" * 50})

    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, f"No space for {target}", path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            file.append({"event": "two"})
    assert "two" not in file.path.read_text()
    file.append({"event": "three"})
    last, broken = verify(file.path)
    assert (last.number, broken) == (2, "")


def test_the_oldest_files_are_removed_and_the_rest_is_still_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path, rotate_bytes=1)
    for number in range(MOST_FILES + 5):
        file.append({"event": f"e{number}"})
    assert len(rotated(path)) == MOST_FILES
    assert verify(path)[0].number == MOST_FILES + 5
    assert not verify(path)[1]
    rotated(path)[3].unlink()
    assert "does not follow" in verify(path)[1]


def test_lines_cut_off_at_the_end_show_against_the_anchor(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"

    async def story() -> list[Anchor]:
        anchors: list[Anchor] = []
        log = AuditLog(path, anchor=anchors.append)
        for event in ("one", "two", "three"):
            await log.write(event=event)
        log.leave_anchor()
        log.leave_anchor()
        return anchors

    (anchor,) = asyncio.run(story())
    assert anchor.number == 3
    assert verify(path, anchor) == (anchor, "")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    assert not verify(path)[1], "the chain alone does not show it"
    assert "it was cut" in verify(path, anchor)[1]
    write(path, "forged")
    assert "line 3: is not the line" in verify(path, anchor)[1]


def test_the_anchor_is_left_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.api.access.audit.ANCHOR_SECONDS", 0.0)

    async def story() -> list[int]:
        anchors: asyncio.Queue[Anchor] = asyncio.Queue()
        log = AuditLog(tmp_path / "audit.log", anchor=anchors.put_nowait, part=LonePart())
        found = []
        for event in ("one", "two"):
            await log.write(event=event)
            found.append((await anchors.get()).number)
        return found

    assert asyncio.run(story()) == [1, 2]


def test_pe_audit_verify_says_what_it_finds(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one", "two")
    last = verify(path)[0]
    found = CliRunner().invoke(main, ["audit", "verify", str(path)])
    assert (found.exit_code, f"2 lines, last {last.digest}" in found.output) == (0, True)
    further = f"3:{'0' * 64}"
    found = CliRunner().invoke(main, ["audit", "verify", str(path), "--anchor", further])
    assert found.exit_code == 1
    assert "it was cut" in found.output
    assert CliRunner().invoke(main, ["audit", "verify", "--anchor", "x"]).exit_code == 2


def test_a_log_that_is_not_there_is_no_good_log(tmp_path: Path) -> None:
    none = tmp_path / "none" / "audit.log"
    with pytest.raises(FileNotFoundError):
        verify(none)
    found = CliRunner().invoke(main, ["audit", "verify", str(none)])
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == f"pe: {none}: no such file; name the audit.log in the node's state-dir\n"
    assert "/var/lib/bulkhead" in CliRunner().invoke(main, ["audit", "verify", "--help"]).output
