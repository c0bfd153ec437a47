"""The audit log's chain, over restarts and crashes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from controlplane.api.access.audit import AuditLog, first_break


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
    assert first_break(lines) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_changed_and_a_missing_line_break_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one", "two", "three")
    lines = path.read_text().splitlines()
    assert first_break([lines[0], lines[1].replace("two", "tow"), lines[2]]) == 3
    assert first_break([lines[0], lines[2]]) == 2
    assert first_break(lines[1:]) == 1


def test_a_line_torn_by_a_crash_shows_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "one")
    with path.open("a") as stream:
        stream.write('{"time":1.5,"ev')
    write(path, "two")
    lines = path.read_text().splitlines()
    assert json.loads(lines[2])["event"] == "two"
    assert first_break(lines) == 2


def test_text_from_outside_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, 'x"\n{"event":"forged"}\u2028')
    assert len(path.read_bytes().splitlines()) == 1
