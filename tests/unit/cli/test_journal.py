"""Test the journal: one line per event, no secrets, and no caller waits for a slow reader."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

import pytest

from pe.process import journal


def logged(*, form: str = "json", level: str = "info", **fields: Any) -> str:
    stream = io.StringIO()
    log = journal.start(level, form, stream)
    log.info("session_up", **fields)
    log.close()
    return stream.getvalue()


def test_logfmt_begins_with_time_level_event() -> None:
    line = logged(form="logfmt", peer="10.0.0.2", routes=5, note="two words")
    words = line.split(" ")
    assert [word.partition("=")[0] for word in words[:3]] == ["time", "level", "event"]
    assert line.endswith('peer=10.0.0.2 routes=5 note="two words"\n')


def test_levels() -> None:
    stream = io.StringIO()
    log = journal.start("warning", "logfmt", stream)
    log.info("quiet")
    log.log(30, "loud")
    log.set_level("debug")
    log.debug("now_shown")
    log.close()
    assert [line.split("event=")[1] for line in stream.getvalue().splitlines()] == [
        "loud",
        "now_shown",
    ]


@pytest.mark.parametrize("name", ["md5", "md5_key", "password", "private-key", "api_token", "KEY"])
def test_secrets_do_not_appear(name: str) -> None:
    fields: dict[str, Any] = {name: "hush", "peer": {"md5": "hush", "address": "10.0.0.2"}}
    line = logged(**fields)
    assert "hush" not in line
    assert "10.0.0.2" in line


def test_that_there_is_a_secret_may_be_said() -> None:
    assert json.loads(logged(md5=True))["md5"] is True


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_text_from_outside_stays_on_its_line(form: str) -> None:
    line = logged(form=form, reason="bad\nlevel=error event=forged \x1b[2J\u2028", more=["a\nb"])
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\u2028" not in line


class Stuck(io.StringIO):
    """A stream whose reader has gone to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.awake = threading.Event()

    def write(self, text: str) -> int:
        self.awake.wait(10)
        return super().write(text)


def test_a_stuck_reader_delays_no_other_and_losses_are_counted() -> None:
    stream = Stuck()
    outlet = journal.Outlet(stream, size=10)
    start = time.monotonic()
    for number in range(100):
        outlet.write(f"{number}\n")
    assert time.monotonic() - start < 1.0
    stream.awake.set()
    outlet.close()
    written = stream.getvalue().splitlines()
    kept = [line for line in written if line.isdigit()]
    lost = [int(line.rpartition("=")[2]) for line in written if "journal_lines_dropped" in line]
    assert len(kept) + sum(lost) == 100
    assert sum(lost) > 0


def test_a_closed_stream_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    log = journal.start("info", "logfmt", stream)
    log.info("written_after_close")
    log.close()
