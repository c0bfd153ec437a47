"""The guest, seen from the host: what comes back, what cannot be written, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.kernel import choice
from labs.kernel.guest import TIMED_OUT, Guest
from labs.waiting import until

CHOSEN = choice.choose()
pytestmark = pytest.mark.skipif(CHOSEN.kind is not choice.Kind.UML, reason=CHOSEN.reason)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def guest(results: Path) -> Iterator[Guest]:
    with Guest(mem="1G", shared=[results]) as guest:
        yield guest


class Received(bytearray):
    """A sink that keeps what it got."""

    def __call__(self, data: bytes) -> None:
        self.extend(data)


def _shell(guest: Guest, script: str, **more: object) -> tuple[int, str, str]:
    out, err = Received(), Received()
    status = guest.run(["sh", "-c", script], stdout=out, stderr=err, **more)  # type: ignore[arg-type]
    return status, out.decode(), err.decode()


def test_status_and_both_streams_come_back(guest: Guest) -> None:
    assert _shell(guest, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


def test_a_signal_is_128_and_its_number(guest: Guest) -> None:
    assert _shell(guest, "kill -9 $$")[0] == 128 + signal.SIGKILL


def test_a_program_that_does_not_exist_is_127(guest: Guest) -> None:
    assert guest.run(["/nowhere"], stderr=Received()) == 127


def test_what_ends_at_once_does_not_end_the_guest(guest: Guest) -> None:
    """Its exit and the end of both its streams are then seen in one turn of the agent's loop."""
    assert [_shell(guest, f"echo {n}")[1] for n in range(200)] == [f"{n}\n" for n in range(200)]


def test_megabytes_come_through_unchanged(guest: Guest) -> None:
    status, out, err = _shell(guest, "seq 1 300000; seq 1 300000 >&2")
    wanted = "".join(f"{n}\n" for n in range(1, 300001))
    assert status == 0
    assert (out == wanted, err == wanted) == (True, True)  # not shown: they are long


def test_it_runs_as_root_in_the_same_directory_on_another_kernel(guest: Guest) -> None:
    _, out, _ = _shell(guest, "id -u; pwd; uname -r")
    uid, where, release = out.split()
    assert uid == "0"
    assert where == str(Path.cwd())
    assert release != os.uname().release


def test_nothing_is_written_to_the_host_but_in_the_shared_directory(
    guest: Guest, results: Path
) -> None:
    name = f"written-{uuid.uuid4()}"
    places = [Path.cwd(), *map(Path, ("/tmp", "/run", "/dev/shm", "/etc")), results]  # noqa: S108
    script = "; ".join(f"echo guest >{place}/{name} && cat {place}/{name}" for place in places)
    assert _shell(guest, script)[1] == "guest\n" * len(places)
    assert [place for place in places if (place / name).exists()] == [results]
    assert (results / name).read_text() == "guest\n"


def test_a_host_file_removed_inside_is_still_there(guest: Guest, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("host")
    assert _shell(guest, f"cat {kept} && rm {kept} && ! ls {kept}")[:2] == (0, "host")
    assert kept.read_text() == "host"


def test_a_command_that_takes_too_long_is_stopped(guest: Guest) -> None:
    assert _shell(guest, "exec sleep 61", timeout=0.5)[0] == TIMED_OUT
    assert "sleep 61" not in _shell(guest, "ps -eo args")[1]


def test_a_daemon_left_behind_does_not_hold_the_caller_up(guest: Guest) -> None:
    assert _shell(guest, "sleep 30 & echo done", timeout=20)[:2] == (0, "done\n")


def test_orphans_are_reaped(guest: Guest) -> None:
    _shell(guest, "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; sleep 0.3")
    assert "Z" not in _shell(guest, "ps -eo stat")[1].split()


def test_root_s_programs_are_found_for_every_caller(guest: Guest) -> None:
    """A user's own search path on Debian has no sbin in it."""
    assert guest.run(["sh", "-c", "command -v sysctl"], env={"PATH": "/usr/bin:/bin"}) == 0


def test_what_is_in_a_closed_home_can_be_run_without_rights(guest: Guest) -> None:
    """As a BGP speaker is."""
    inside = [sys.executable, "-c", "import labs"]
    assert guest.run(["setpriv", "--reuid=nobody", "--clear-groups", *inside]) == 0


def test_it_can_do_what_labs_need(guest: Guest) -> None:
    probe = "from labs.kernel.probe import host_kernel; print(host_kernel().lacks)"
    out = Received()
    assert guest.run([sys.executable, "-c", probe], stdout=out) == 0
    assert out.decode() == "\n"


def test_two_run_side_by_side_and_do_not_see_each_other(guest: Guest) -> None:
    with Guest(mem="512M") as other:
        for one in (guest, other):
            assert _shell(one, "ip netns add twin && ip netns list")[:2] == (0, "twin\n")
        assert _shell(guest, "ip netns delete twin")[0] == 0


def test_it_dies_with_its_caller() -> None:
    script = """
        from labs.kernel.guest import Guest
        with Guest(mem="512M") as guest:
            print(guest._process.pid, flush=True)
            guest.run(["sleep", "60"])
    """
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    caller.kill()
    caller.communicate()
    assert until(lambda: not _alive(pid), 10)


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
