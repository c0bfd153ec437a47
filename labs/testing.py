"""Runs the tests that need the lab kernel: ``python -m labs.testing [PATH...]``.

On a host whose own kernel will do, that is one pytest. Else every module gets a guest of its
own, as many at a time as there are CPUs, those first that took longest the last time; modules
that attack share one lab, and go together in a few portions. What they print comes through line
by line, then a last line adds it up; the exit status is 0 only if every one of them ran tests
and all passed.

A guest that dies, which says nothing about what was tested, is tried once more. A few tests that
failed run again alone, to find out whether they depend on what ran before them. One that then
passes is flaky, and fails the run all the same unless ``tests/flaky.toml`` excuses it.

With ``COVERAGE_DIR`` in the environment, pytest and the nodes under test measure branch coverage
and leave their data there.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labs import flaky
from labs import reports as reports_of
from labs.kernel import build, cache, choice
from labs.kernel.guest import Guest, GuestDiedError

FOLDERS = (Path("tests/lab"), Path("tests/attack"))
MODULE_SECONDS = 10.0
"""What a module is taken to need as long as it has not run."""

TIMEOUT_SECONDS = 1800.0
FAILED = 1
"""The exit status with which pytest says that tests failed."""

NO_TESTS = 5
"""The exit status with which pytest says that it found none."""

COVERAGE_VARIABLE = "COVERAGE_DIR"
DIED = 70
TRIES = 2
ALONE_AT_MOST = 4
"""So many failures of one guest are tried again in another, without what ran before them there.
More of them are no coincidence."""

SHARED = Path("tests/attack")
SHARED_PORTIONS = 4
"""Into how many guests the modules of that folder go: each brings the lab up once."""

_output = threading.Lock()


def main(argv: Sequence[str]) -> int:
    """Run the modules named (default: all) on the lab kernel; arguments with - go to pytest."""
    options = [word for word in argv if word.startswith("-")]
    paths = [word for word in argv if not word.startswith("-")]
    modules = _modules(
        [Path(path) for path in paths] or [path for path in FOLDERS if path.exists()]
    )
    if not paths and not modules:
        sys.stderr.write("no lab tests found\n")
        return NO_TESTS
    chosen = choice.choose()
    print(f"lab tests on {chosen.kind.value}, {chosen.reason}", flush=True)
    if chosen.kind is not choice.Kind.UML:
        return choice.run(_pytest(modules or paths, options), choice=chosen)
    return _in_guests(modules or paths, options)


def _modules(places: Sequence[Path]) -> list[str]:
    found: list[str] = []
    for place in places:
        found += map(str, sorted(place.rglob("test_*.py")) if place.is_dir() else [place])
    return found


def _pytest(modules: Sequence[str], options: Sequence[str], *more: str) -> list[str]:
    measured = (
        ("--cov", "--cov-report=", "--cov-fail-under=0")
        if os.environ.get(COVERAGE_VARIABLE)
        else ()
    )
    return [sys.executable, "-m", "pytest", "-m", "lab", *measured, *more, *options, *modules]


def _in_guests(modules: Sequence[str], options: Sequence[str]) -> int:
    kernel = build.kernel()
    parts = portions(modules, _durations())
    with tempfile.TemporaryDirectory(prefix="bulkhead-tests-") as scratch:
        reports = [Path(scratch) / f"{number}" for number in range(len(parts))]
        for report in reports:
            report.mkdir()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            runs = [
                pool.submit(_in_guest, kernel, number, part, options, report)
                for number, (part, report) in enumerate(zip(parts, reports, strict=True))
            ]
            statuses = [run.result() for run in runs]
        total = reports_of.add_up(reports)
        _keep_coverage(reports)
    _remember(total.seconds)
    worst = _verdict(total, max(statuses))
    print(f"lab tests: {total} in {len(parts)} guests; exit status {worst}", flush=True)
    return worst


def _verdict(total: reports_of.Sum, status: int) -> int:
    """Print each failed test with the end of its output; return the exit status of the run."""
    flaky_now = flaky.unexcused(total.alone, flaky.read(), dt.datetime.now(dt.UTC).date())
    for test, words in total.bad.items():
        print(f"\nlab tests: {test} said\n{words}", flush=True)
    for test in total.bad:
        if test in flaky_now:
            so = "is flaky: it failed in the suite and passed alone; mend it, or list it with \
reason and expiry date in tests/flaky.toml"
        elif test in total.alone:
            so = "is flaky, as tests/flaky.toml says: it failed in the suite and passed alone"
        else:
            so = "failed"
        print(f"lab tests: {test} {so}", flush=True)
    return status or (FAILED if flaky_now else 0)


def _keep_coverage(reports: Sequence[Path]) -> None:
    """Copy the coverage data of the guests to where the caller wants it."""
    if not (wanted := os.environ.get(COVERAGE_VARIABLE)):
        return
    Path(wanted).mkdir(parents=True, exist_ok=True)
    for data in (found for report in reports for found in report.glob(".coverage*")):
        shutil.copy(data, Path(wanted) / f"{data.name}.{data.parent.name}")


def portions(modules: Sequence[str], seconds: dict[str, float]) -> list[list[str]]:
    """What goes into one guest together, the longest portion first."""
    shared = [module for module in modules if SHARED in Path(module).parents]
    alone = [[module] for module in modules if module not in shared]
    found = alone + (divide(shared, seconds, SHARED_PORTIONS) if shared else [])
    return sorted(found, key=lambda part: -sum(seconds.get(m, MODULE_SECONDS) for m in part))


def divide(modules: Sequence[str], seconds: dict[str, float], parts: int) -> list[list[str]]:
    """Divide modules into at most ``parts`` lists of about equal duration, longest first."""
    loads: list[tuple[float, list[str]]] = [(0.0, []) for _ in range(min(parts, len(modules)))]
    for module in sorted(modules, key=lambda name: -seconds.get(name, MODULE_SECONDS)):
        lightest = min(range(len(loads)), key=lambda index: loads[index][0])
        load, part = loads[lightest]
        loads[lightest] = (load + seconds.get(module, MODULE_SECONDS), [*part, module])
    return [part for _, part in loads]


def _in_guest(
    kernel: Path, number: int, modules: Sequence[str], options: Sequence[str], report: Path
) -> int:
    lines = _Lines(f"[{number + 1}] ")
    try:
        status = _tried(kernel, modules, options, report / reports_of.FIRST, lines)
        bad = reports_of.failed(report / reports_of.FIRST) if status == FAILED else []
        if 0 < len(bad) <= ALONE_AT_MOST:
            lines.feed(f"once more, alone: {' '.join(bad)}\n".encode())
            status = _tried(kernel, bad, options, report / reports_of.AGAIN, lines)
        return status
    finally:
        lines.end()


def _tried(
    kernel: Path, tests: Sequence[str], options: Sequence[str], report: Path, lines: _Lines
) -> int:
    command = _pytest(tests, options, f"--junitxml={report}", "-p", "no:cacheprovider", "-v")
    env = dict(os.environ)
    if COVERAGE_VARIABLE in env:
        data = report.parent / f".coverage.{report.stem}"
        env |= {COVERAGE_VARIABLE: str(report.parent), "COVERAGE_FILE": str(data)}
    for _ in range(TRIES):
        try:
            with Guest(kernel, shared=[report.parent]) as guest:
                return guest.run(
                    command, env=env, stdout=lines.feed, stderr=lines.feed, timeout=TIMEOUT_SECONDS
                )
        except GuestDiedError as error:
            lines.feed(f"{error}\n".encode())
    return DIED


class _Lines:
    """Lets through whole lines only, each marked, so that two guests do not mix theirs."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        with _output:
            for line in lines:
                sys.stdout.write(f"{self._mark}{line.decode(errors='replace')}\n")
            sys.stdout.flush()

    def end(self) -> None:
        if self._rest:
            self.feed(b"\n")


def _durations_file() -> Path:
    return cache.directory() / "lab-test-seconds"


def _durations() -> dict[str, float]:
    file = _durations_file()
    lines = file.read_text().splitlines() if file.exists() else []
    return {name: float(seconds) for seconds, name in (line.split(" ", 1) for line in lines)}


def _remember(seconds: dict[str, float]) -> None:
    """How long each module took, for the next time."""
    _durations_file().parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{s:.1f} {name}\n" for name, s in (_durations() | seconds).items())
    _durations_file().write_text("".join(lines))


if __name__ == "__main__":
    started = time.monotonic()
    status = main(sys.argv[1:])
    print(f"lab tests took {time.monotonic() - started:.0f} s", flush=True)
    sys.exit(status)
