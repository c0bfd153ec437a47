"""Runs commands as root inside a User-Mode Linux guest that sees the host's files.

A guest boots in under a second, needs neither virtualisation nor root, writes nothing to
the host but the directories shared with it, and dies with its caller. Several run side
by side, one CPU each.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from labs.kernel import build, frames, machine
from labs.kernel.reach import closed_folders

Sink = Callable[[bytes], None]

BOOT_SECONDS = 60.0
HANG_UP_SECONDS = 10.0
ROOT_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
TIMED_OUT = 124
"""The exit status of a command that was stopped for taking too long, as of timeout(1)."""

INSIDE = "BULKHEAD_LAB_INSIDE"
"""Set in the environment of every command inside a guest."""

# The host kernel registers restartable sequences for the guest's threads and kills them
# when the guest unmaps the area: a stub process must not have one.
UML_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}


class GuestDiedError(RuntimeError):
    """The guest stopped while it was needed; the message ends with its last words."""


@dataclass(slots=True)
class _Job:
    stdout: Sink
    stderr: Sink
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)


def to_stream(descriptor: int) -> Sink:
    """Return a sink that writes all it gets to a file descriptor at once."""

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return write


class Guest:
    """One running guest; a context manager. Any number of commands, also at once."""

    def __init__(
        self, kernel: Path | None = None, *, mem: str = "4G", shared: Sequence[Path] = ()
    ) -> None:
        """Boot ``kernel`` (default: the cached one, built if need be) with ``mem`` of memory.

        ``shared`` are directories that the guest may write to on the host. Raises
        GuestDiedError when it does not come up, OSError when there is no room for it.
        """
        self._resources = contextlib.ExitStack()
        self._jobs: dict[int, _Job] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._ready = threading.Event()
        try:
            self._start(kernel or build.kernel(), mem, shared)
        except BaseException:
            self.close()
            raise

    def _start(self, kernel: Path, mem: str, shared: Sequence[Path]) -> None:
        machine.allow_many_mappings()
        machine.allow_many_files()
        memory = machine.memory_directory(machine.parse_size(mem))
        cpu = self._resources.enter_context(machine.own_cpu())
        self._control = Path(
            self._resources.enter_context(tempfile.TemporaryDirectory(prefix="bulkhead-guest-"))
        )
        _furnish(self._control, shared)
        self._channel, theirs = socket.socketpair()
        with theirs, (self._control / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(cpu)),
                    *_command_line(kernel, mem, self._control, theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, **UML_ENVIRONMENT, "TMPDIR": str(memory)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(BOOT_SECONDS) or self._process.poll() is not None:
            raise GuestDiedError("the lab kernel did not come up\n" + self._last_words())

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
        hung_up: threading.Event | None = None,
    ) -> int:
        """Run a command as root inside and return its exit status.

        Output goes to the sinks as it comes (default: this process's own). ``timeout`` is
        in seconds; the command is then killed and the status is 124. Once ``hung_up`` is set
        (which takes the place of a timeout) the command is sent SIGTERM. A status above 128 is
        128 + the signal that ended it. Raises GuestDiedError.
        """
        job = _Job(
            to_stream(1) if stdout is None else stdout, to_stream(2) if stderr is None else stderr
        )
        number = self._submit(job, argv, cwd or Path.cwd(), env)
        try:
            if hung_up is not None and not _first(job.ended, hung_up):
                self._send_line(f"kill {number} {int(signal.SIGTERM)}")
                timeout = HANG_UP_SECONDS
            if not job.ended.wait(timeout):
                self._send_line(f"kill {number} {int(signal.SIGKILL)}")
                job.ended.wait(5)
                return TIMED_OUT
        except BaseException:
            self._send_line(f"kill {number} {int(signal.SIGTERM)}")
            raise
        if job.status is None:
            raise GuestDiedError("the lab kernel stopped\n" + self._last_words())
        return job.status

    def close(self) -> None:
        """Power off, gently if it still listens, and leave nothing behind."""
        if hasattr(self, "_process"):
            self._send_line("off")
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._reader.join(timeout=5)
            self._channel.close()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _submit(
        self, job: _Job, argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None
    ) -> int:
        with self._lock:
            self._count += 1
            number = self._count
            self._jobs[number] = job
        command = {"argv": [*argv], "cwd": str(cwd), "env": _inside(env)}
        (self._control / str(number)).write_text(json.dumps(command))
        if self._process.poll() is not None:
            self._abandon()
        self._send_line(f"run {number}")
        return number

    def _send_line(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendall(line.encode() + b"\n")

    def _read(self) -> None:
        decoder = frames.Decoder()
        with contextlib.suppress(OSError):
            while data := self._channel.recv(1 << 16):
                for frame in decoder.feed(data):
                    self._received(*frame)
        self._process.wait()
        self._abandon()
        self._ready.set()

    def _received(self, kind: int, number: int, payload: bytes) -> None:
        if kind == frames.READY:
            self._ready.set()
        elif job := self._jobs.get(number):
            if kind == frames.EXITED:
                del self._jobs[number]
                job.status = int(payload)
                job.ended.set()
            else:
                # The reader may be gone; the other jobs go on.
                with contextlib.suppress(OSError):
                    (job.stdout if kind == frames.STDOUT else job.stderr)(payload)

    def _abandon(self) -> None:
        while self._jobs:
            self._jobs.popitem()[1].ended.set()

    def _last_words(self) -> str:
        lines = (self._control / "console").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith(" ["))[-2000:]


def _first(wanted: threading.Event, other: threading.Event) -> bool:
    """Wait until one of two events is set; True if it is the first."""
    while not wanted.wait(0.1):
        if other.is_set():
            return wanted.is_set()
    return True


def _furnish(control: Path, shared: Sequence[Path]) -> None:
    here = Path(__file__).parent
    for name in ("init.sh", "agent.py", "frames.py"):
        shutil.copy(here / name, control / name)
    (control / "init.sh").chmod(0o755)
    (control / "python").write_text(os.path.realpath(sys.executable) + "\n")
    (control / "closed").write_text("".join(f"{path}\n" for path in closed_folders()))
    (control / "shared").write_text("".join(f"{path.resolve()}\n" for path in shared))


def _command_line(kernel: Path, mem: str, control: Path, channel: int) -> list[str]:
    return [
        *(str(kernel), f"mem={mem}", "rootfstype=hostfs", "rootflags=/", "rw"),
        *(f"init={control}/init.sh", f"LAB_CONTROL={control}"),
        *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{channel}"),
        *("quiet", "panic=-1", f"uml_dir={control}/", "umid=guest"),
    ]


def _inside(env: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's environment, but with temporary files on the guest's own tmpfs."""
    inside = {**(os.environ if env is None else env), INSIDE: "uml", "TMPDIR": "/run/tmp"}
    inside["PATH"] = root_path(inside.get("PATH", ""))
    return inside


def root_path(path: str) -> str:
    """A search path with the folders of root's programs, which a user's own has not."""
    there = [folder for folder in path.split(":") if folder]
    return ":".join([*there, *(folder for folder in ROOT_PATH if folder not in there)])


def run_in_guest(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    mem: str = "4G",
    timeout: float | None = None,
    results: Path | None = None,
) -> int:
    """Boot a guest, run one command in it as root, power off; return its exit status.

    ``results`` is the one directory that it may write to on the host.
    """
    shared = [results] if results else []
    with Guest(mem=mem, shared=shared) as guest:
        return guest.run(argv, cwd=cwd, env=env, timeout=timeout)
