"""Nothing that Python or a library complains of passes by the journal."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable

import pytest

from pe.process.exception_hooks import JournalHandler, to_journal

Lines = list[tuple[int, str, dict[str, object]]]


class Notes:
    def __init__(self) -> None:
        self.lines: Lines = []

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((logging.WARNING, event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append((logging.ERROR, event, fields))


def noted(story: Callable[[], Awaitable[None]]) -> Lines:
    notes = Notes()

    async def whole() -> None:
        with to_journal(notes):
            await story()

    asyncio.run(whole())
    return notes.lines


def test_the_loop_s_complaints() -> None:
    async def story() -> None:
        def broken() -> None:
            raise KeyError("from a callback")

        asyncio.get_running_loop().call_soon(broken)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    ((level, event, fields),) = noted(story)
    assert (level, event) == (logging.ERROR, "loop_exception")
    assert fields["error"] == "KeyError: 'from a callback'"
    assert str(fields["where"]).endswith(":broken")


@pytest.mark.parametrize("name", ["asyncio", "grpc._cython.cygrpc", "anything"])
def test_python_s_logging(name: str) -> None:
    async def story() -> None:
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger(name).exception("it went\nwrong: %s", 7)
        logging.getLogger(name).info("not worth a line")

    ((level, event, fields),) = noted(story)
    assert (level, event) == (logging.ERROR, "library_log")
    assert (fields["logger"], fields["text"]) == (name, "it went wrong: 7")
    assert fields["error"] == "ValueError: inside"


def test_a_log_call_that_does_not_fit_its_format() -> None:
    notes = Notes()
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%s and %s", ("one",), None)
    JournalHandler(notes).handle(record)
    ((_, _, fields),) = notes.lines
    assert "%s and %s" in str(fields["text"])


def test_warnings() -> None:
    async def story() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", stacklevel=1)

    lines = noted(story)
    assert [(e, f["logger"]) for _, e, f in lines] == [("library_log", "py.warnings")]
    assert "old" in str(lines[0][2]["text"])


def test_exceptions_that_python_ignores() -> None:
    class Broken:
        def __del__(self) -> None:
            raise RuntimeError("at the end")

    async def story() -> None:
        Broken()

    ((level, event, fields),) = noted(story)
    assert (level, event, fields["error"]) == (
        logging.ERROR, "exception_ignored", "RuntimeError: at the end",
    )  # fmt: skip


def test_exceptions_of_threads() -> None:
    def broken() -> None:
        raise OSError(5, "no disk")

    async def story() -> None:
        thread = threading.Thread(target=broken, name="worker")
        thread.start()
        thread.join()

    ((_, event, fields),) = noted(story)
    assert (event, fields["thread"]) == ("thread_ended", "worker")


def test_afterwards_all_is_as_before() -> None:
    before = sys.unraisablehook, threading.excepthook, list(logging.getLogger().handlers)

    async def story() -> None:
        assert sys.unraisablehook is not before[0]

    noted(story)
    after = sys.unraisablehook, threading.excepthook, list(logging.getLogger().handlers)
    assert after == before
