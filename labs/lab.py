"""Brings a lab up on the kernel that it runs on, and down again.

All of it is found again from the file system alone, so that one process can bring a lab
up and another one take it down: namespaces by their names, processes by the files
``<node>/<program>.pid`` below ``/run/bulkhead-lab/<lab>/``.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from labs import processes
from labs.topology import End, Lab, Link, Node, Outcome, Program
from labs.waiting import until

ROOT = Path("/run/bulkhead-lab")
NETNS = Path("/run/netns")


class LabError(RuntimeError):
    """A lab could not be brought up; the message says at which node and what was said."""


class RunningLab:
    """A lab that is up: run commands on its nodes, start and stop their programs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.directory = ROOT / lab.name

    def dir(self, node: str) -> Path:
        """Return the directory of a node's files, logs and sockets."""
        return self.directory / node

    def expand(self, node: str, text: str) -> str:
        """Return ``text`` with ``{dir}`` replaced by the node's directory."""
        return text.replace("{dir}", str(self.dir(node)))

    def run(
        self,
        node: str,
        *argv: str,
        check: bool = True,
        timeout: float = 60.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node and return what it said.

        With ``check``, LabError for an exit status other than 0; TimeoutExpired after
        ``timeout`` seconds.
        """
        done = subprocess.run(
            self._on(node, argv),
            capture_output=True,
            text=True,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise LabError(
                f"{node}: {shlex.join(argv)}: exit status {done.returncode}\n"
                + (done.stderr or done.stdout)
            )
        return done

    def popen(
        self, node: str, *argv: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command of the caller's own on a node, with pipes for all three streams."""
        return subprocess.Popen(
            self._on(node, argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=processes.environment(env or {}),
        )

    def _on(self, node: str, argv: tuple[str, ...]) -> list[str]:
        return ["ip", "netns", "exec", node, *(self.expand(node, word) for word in argv)]

    def program(self, node: str, name: str) -> Program:
        """Return a node's program by its name; raises KeyError."""
        for program in self.lab.node(node).programs:
            if program.name == name:
                return program
        raise KeyError(f"{node} has no program {name}")

    def pid(self, node: str, name: str) -> int | None:
        """Return the process id of a node's program while it runs, else None."""
        return processes.running(self.dir(node) / f"{name}.pid")

    def log(self, node: str, name: str) -> str:
        """Return all that a node's program has printed so far."""
        return (self.dir(node) / f"{name}.log").read_text(errors="replace")

    def start(self, node: str, program: Program, *, wait: bool = True) -> int:
        """Start a program on a node and return its process id once it is ready.

        Raises LabError when it ends instead, with the end of its log.
        """
        place = self.dir(node)
        self._furnish(node, program.files, program.directories, program.owner)
        if program.ready:
            self._path(node, program.ready).unlink(missing_ok=True)
        pid = processes.spawn(
            self._on(node, program.argv),
            pidfile=place / f"{program.name}.pid",
            log=place / f"{program.name}.log",
            env={key: self.expand(node, value) for key, value in program.env.items()},
        )
        if wait:
            self.wait_ready(node, program)
        return pid

    def wait_ready(self, node: str, program: Program) -> None:
        """Wait until a started program is ready; LabError if it ends or takes too long."""
        ready = self._path(node, program.ready) if program.ready else None

        def settled() -> bool:
            return ready is None or ready.exists() or self.pid(node, program.name) is None

        until(settled, program.ready_seconds)
        if self.pid(node, program.name) is None or (ready is not None and not ready.exists()):
            ended = "ended" if self.pid(node, program.name) is None else "is not ready"
            tail = self.log(node, program.name)[-2000:]
            raise LabError(f"{node}: {program.name} {ended}\n{tail}")

    def stop(self, node: str, name: str, signal: int = 15) -> None:
        """Send a program ``signal`` and wait for its end (killed after 5 s)."""
        processes.stop(self.dir(node) / f"{name}.pid", signal)

    def restart(self, node: str, name: str, signal: int = 15) -> int:
        """Stop a program with ``signal`` and start it again; return its new process id."""
        self.stop(node, name, signal)
        return self.start(node, self.program(node, name))

    def check(self) -> Iterator[Outcome]:
        """Make the lab's checks, yielding each outcome as it is known."""
        for check in self.lab.checks:
            try:
                yield from check(self)
            except Exception:  # noqa: BLE001, RUF100 - a broken check is a failed one
                title = check.__name__.replace("_", " ")
                yield Outcome(False, title, traceback.format_exc(limit=-3).strip())

    def _path(self, node: str, name: str) -> Path:
        return self.dir(node) / self.expand(node, name)

    def _furnish(
        self,
        node: str,
        files: Mapping[str, str],
        directories: tuple[str, ...] = (),
        owner: str | None = None,
    ) -> None:
        for name in directories:
            self._path(node, name).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = self._path(node, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.expand(node, text))
        if owner:
            for name in (*directories, *files):
                shutil.chown(self._path(node, name), owner, owner)


def up(lab: Lab) -> RunningLab:
    """Bring a lab up and return it; LabError, with nothing left behind, when it fails."""
    taken = [node.name for node in lab.nodes if (NETNS / node.name).exists()]
    if taken:
        raise LabError(f"namespaces exist already: {', '.join(taken)} (pe lab down {lab.name}?)")
    running = RunningLab(lab)
    try:
        _wire(running)
        _set_up(running)
        _start_programs(running)
    except BaseException:
        down(lab)
        raise
    return running


def down(lab: Lab) -> None:
    """Take down all that exists of a lab, also of one that another process brought up."""
    running = RunningLab(lab)
    if not running.directory.exists():
        return
    for pidfile in sorted(running.directory.glob("*/*.pid")):
        processes.signal_only(pidfile, 15)
    for pidfile in sorted(running.directory.glob("*/*.pid")):
        processes.stop(pidfile, 15)
    for node in lab.nodes:
        if (NETNS / node.name).exists():
            processes.kill_all(_pids_of(node.name))
            subprocess.run(["ip", "netns", "delete", node.name], check=False)
    shutil.rmtree(running.directory, ignore_errors=True)


@contextlib.contextmanager
def running(lab: Lab) -> Iterator[RunningLab]:
    """Have a lab up for the duration of a ``with`` block."""
    try:
        yield up(lab)
    finally:
        down(lab)


def _pids_of(netns: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", netns], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def _wire(running: RunningLab) -> None:
    lab = running.lab
    for node in lab.nodes:
        running.dir(node.name).mkdir(parents=True, exist_ok=True)
    _batch("", [f"netns add {node.name}" for node in lab.nodes])
    _batch("", [_cable(link) for link in lab.links])
    for node in lab.nodes:
        _batch(node.name, [*_loopback(node), *_ports(lab, node)])


def _cable(link: Link) -> str:
    a, b = link.a, link.b
    return (
        f"link add {a.port} netns {a.node} mtu {link.mtu}{_mac(a)} type veth"
        f" peer name {b.port} netns {b.node} mtu {link.mtu}{_mac(b)}"
    )


def _mac(end: End) -> str:
    return f" address {end.mac}" if end.mac else ""


def _loopback(node: Node) -> list[str]:
    return ["link set lo up", *(f"addr add {address} dev lo" for address in node.addresses)]


def _ports(lab: Lab, node: Node) -> Iterator[str]:
    ends = [end for link in lab.links for end in (link.a, link.b) if end.node == node.name]
    for end in ends:
        for address in end.addresses:
            # Duplicate address detection would keep an IPv6 address unusable for a second.
            nodad = " nodad" if ":" in address else ""
            yield f"addr add {address} dev {end.port}{nodad}"
        if end.up:
            yield f"link set dev {end.port} up"


def _batch(netns: str, commands: list[str]) -> None:
    """Give ip(8) many commands at once: a start of it costs more than the command does."""
    inside = ["-n", netns] if netns else []
    done = subprocess.run(
        ["ip", *inside, "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"{netns or 'lab'}: {done.stderr.strip()}\n" + "\n".join(commands))


def _set_up(running: RunningLab) -> None:
    for node in running.lab.nodes:
        running._furnish(node.name, node.files)
        lines = [f"sysctl -qw {shlex.quote(f'{k}={v}')}" for k, v in node.sysctls.items()]
        lines += [shlex.join(command) for command in node.setup]
        if lines:
            # One shell for all of them, which traces, so that a failure names its command.
            running.run(node.name, "sh", "-exc", "\n".join(lines))


def _start_programs(running: RunningLab) -> None:
    """Start the first program of every node, wait for all, then the second, and so on."""
    waves = max((len(node.programs) for node in running.lab.nodes), default=0)
    for wave in range(waves):
        started: list[Callable[[], None]] = []
        for node in running.lab.nodes:
            if wave < len(node.programs):
                program = node.programs[wave]
                running.start(node.name, program, wait=False)
                started.append(partial(running.wait_ready, node.name, program))
        for wait in started:
            wait()
