"""What runs as PID 1 inside a guest: starts commands, sends back what they say, reaps.

Started by ``init.sh`` as ``agent.py TTY CONTROL`` with a bare interpreter (no site
packages). The host writes lines to the TTY, ``run JOB``, ``kill JOB SIGNAL`` or ``off``;
the command of a job is the JSON file ``CONTROL/JOB`` (argv, cwd, env), so that its length
is not bounded by a terminal's buffer. Answers are the frames of ``frames.py``. When the
host's end goes away, the guest powers off: it never outlives its caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import traceback
import tty
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # -I leaves the script's folder out

import frames  # type: ignore[import-not-found,unused-ignore]

CHUNK = 65536


class Agent:
    """The guest's only loop: host lines in, process output and exits out."""

    def __init__(self, terminal: int, control: Path) -> None:
        self._terminal = terminal
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._processes: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
        self._typed = b""
        self._wakeup, write_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve until the host says ``off`` or goes away."""
        self._selector.register(self._terminal, selectors.EVENT_READ, self._lines)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        self._send(frames.READY, 0)
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _send(self, kind: int, job: int, payload: bytes = b"") -> None:
        rest = memoryview(frames.encode(kind, job, payload))
        while rest:
            rest = rest[os.write(self._terminal, rest) :]

    def _lines(self) -> None:
        data = os.read(self._terminal, 4096)
        if not data:
            raise EOFError
        *lines, self._typed = (self._typed + data).split(b"\n")
        for line in lines:
            verb, *numbers = line.split()
            getattr(self, "_do_" + verb.decode())(*map(int, numbers))

    def _do_off(self) -> None:
        raise EOFError

    def _do_kill(self, job: int, number: int) -> None:
        for pid, (owner, _) in self._processes.items():
            if owner == job:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)

    def _do_run(self, job: int) -> None:
        command: dict[str, Any] = json.loads((self._control / str(job)).read_text())
        try:
            process = subprocess.Popen(
                command["argv"],
                cwd=command["cwd"],
                env=command["env"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._send(frames.STDERR, job, f"{command['argv'][0]}: {error.strerror}\n".encode())
            self._send(frames.EXITED, job, b"127")
            return
        self._processes[process.pid] = (job, process)
        for kind, pipe in ((frames.STDOUT, process.stdout), (frames.STDERR, process.stderr)):
            assert pipe is not None  # noqa: S101 - for the type checker: both are PIPE
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, self._pump(kind, job, pipe))

    def _pump(self, kind: int, job: int, pipe: Any) -> Any:
        def pump() -> None:
            if pipe.closed:
                return  # drained by _exited() in the same turn of the loop
            try:
                data = os.read(pipe.fileno(), CHUNK)
            except BlockingIOError:
                return
            if data:
                self._send(kind, job, data)
                return
            self._selector.unregister(pipe)
            pipe.close()

        return pump

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._processes:  # else an orphan that PID 1 inherited
                self._exited(pid, os.waitstatus_to_exitcode(status))

    def _exited(self, pid: int, code: int) -> None:
        job, process = self._processes.pop(pid)
        process.returncode = code
        for pipe in (process.stdout, process.stderr):
            # What it wrote last is still in the pipe. Do not wait for the end of the
            # file: a daemon that it left behind may hold the pipe open for good.
            while pipe is not None and not pipe.closed and self._has_data(pipe.fileno()):
                self._selector.get_key(pipe).data()
        self._send(frames.EXITED, job, str(code if code >= 0 else 128 - code).encode())

    @staticmethod
    def _has_data(descriptor: int) -> bool:
        with selectors.SelectSelector() as ready:
            ready.register(descriptor, selectors.EVENT_READ)
            return bool(ready.select(timeout=0))


def power_off() -> None:
    """Stop the machine; what the shared directories hold is written back first."""
    os.sync()
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(60)


def main() -> None:
    """Open the terminal, serve, power off in any case."""
    terminal = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(terminal)
    try:
        Agent(terminal, Path(sys.argv[2])).serve()
    except EOFError:
        pass  # the host is gone or said so
    except BaseException:  # PID 1 has no parent that could report it
        Path("/dev/console").write_text(traceback.format_exc())
    finally:
        power_off()


if __name__ == "__main__":
    main()
