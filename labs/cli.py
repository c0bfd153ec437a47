"""``pe lab``: bring labs up and down, run their checks or any command in them.

Every command re-executes itself inside a guest when the host's kernel does not do; there
the same code finds itself on a kernel that does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from labs import lab as engine
from labs import topologies
from labs.checks.node import all_established, sessions_text
from labs.kernel import build, choice, keeper, machine
from labs.kernel.build import BuildError
from labs.kernel.guest import GuestDiedError
from labs.kernel.reach import closed_folders
from labs.topology import Lab, Outcome
from labs.waiting import until
from pe.cli.help import LocalGroup

ERRORS = (engine.LabError, BuildError, GuestDiedError, topologies.UnknownLabError, OSError)

SESSION_SECONDS = 20.0
"""How long a lab that was just brought up may take until its BGP sessions are up."""


def _checked_size(text: str) -> str:
    try:
        machine.parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


@click.group(cls=LocalGroup)
@click.option(
    "--kernel",
    type=click.Choice([kind.value for kind in choice.Kind]),
    help="Kernel to run labs on (default: as `pe lab probe` prints).",
)
@click.option(
    "--mem",
    default="4G",
    show_default=True,
    callback=lambda _ctx, _option, text: _checked_size(text),
    metavar="SIZE",
    help="Memory of a guest: 4G, 512M or bytes.",
)
@click.pass_context
def lab(ctx: click.Context, kernel: str | None, mem: str) -> None:
    """Bring up lab networks of namespaces on one machine and run their checks."""
    ctx.with_resource(_ending_on_signals())
    if kernel:
        os.environ[choice.OVERRIDE] = kernel
    ctx.obj = mem


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Interrupted or told to end, take down what was brought up; the status is 128 + the signal."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@lab.command("list")
def list_labs() -> None:
    """List the available labs."""
    for name in topologies.names():
        click.echo(f"{name:16} {topologies.load(name).title}")


@lab.command()
def probe() -> None:
    """Print which kernel labs run on, and what the host's kernel lacks."""
    click.echo(choice.choose(ask=True).describe())


@lab.command()
def ready() -> None:
    """Build the lab kernel if labs need it, and show the progress."""
    chosen = _chosen()
    click.echo(f"lab kernel: {chosen.kind.value}, {chosen.reason}", err=True)
    if chosen.kind is choice.Kind.UML:
        try:
            build.kernel()
        except ERRORS as error:
            raise click.ClickException(str(error)) from error


@lab.command()
@click.argument("name")
@click.pass_obj
def up(mem: str, name: str) -> None:
    """Bring up a lab and keep it up."""
    found = _load(name)
    if _chosen().kind is choice.Kind.UML:
        sys.exit(_up_in_guest(found, name, mem))
    _only_here("up")
    try:
        engine.up(found)
    except ERRORS as error:
        raise click.ClickException(str(error)) from error
    _wait_for_sessions(engine.RunningLab(found))
    nodes = ", ".join(node.name for node in found.nodes)
    click.echo(f"{found.name} is up; its namespaces: {nodes}")


def _up_in_guest(found: Lab, name: str, mem: str) -> int:
    if keeper.running(found.name):
        raise click.ClickException(f"{found.name} is up already")
    try:
        keeper.start(found.name, mem=mem)
        status = keeper.run(found.name, _again("up", name))
    except ERRORS as error:
        keeper.stop(found.name)
        raise click.ClickException(str(error)) from error
    if status:
        keeper.stop(found.name)
    else:
        click.echo(f"it runs in a guest: `pe lab exec {name} -- ip netns exec ...` gets inside")
    return status


@lab.command()
@click.argument("name")
def down(name: str) -> None:
    """Take down a lab."""
    found = _load(name)
    if not keeper.stop(found.name):
        engine.down(found)
    click.echo(f"{found.name} is down")


@lab.command()
@click.argument("name")
@click.pass_obj
def test(mem: str, name: str) -> None:
    """Run a lab's checks, in a running lab or a new one; exit 0 only if every check passes."""
    found = _load(name)
    _leave_for_guest(found, mem, "test", name)
    with _present(found) as present:
        outcomes = [_told(outcome) for outcome in present.check()]
    failed = sum(not outcome.ok for outcome in outcomes)
    click.echo(f"{found.name}: {len(outcomes) - failed} of {len(outcomes)} checks passed")
    sys.exit(1 if failed or not outcomes else 0)


def _told(outcome: Outcome) -> Outcome:
    mark = click.style("ok  ", fg="green") if outcome.ok else click.style("FAIL", fg="red")
    first, *rest = outcome.evidence.splitlines() or [""]
    click.echo(f"{mark}  {outcome.title}" + (f": {first}" if first else ""))
    for line in rest:
        click.echo(f"        {line}")
    return outcome


@lab.command(
    "exec", context_settings={"ignore_unknown_options": True},
    epilog="Exit codes: that of COMMAND; 1 also for a lab that cannot be used; 2 usage error.",
)  # fmt: skip
@click.option("--node", metavar="NODE", help="Run COMMAND in this node's namespace.")
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(mem: str, node: str | None, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND as root beside the lab's namespaces and exit with its status.

    Uses the lab NAME if it is up, else brings it up and takes it down afterwards. `pe` in COMMAND
    is this installation's, and asks the node in whose namespace it runs.

    \b
    pe lab exec quickstart -- ip netns exec pe1 pe show routes
    pe lab exec --node pe1 quickstart -- pe show routes
    """
    found = _load(name)
    if node and node not in {each.name for each in found.nodes}:
        names = ", ".join(each.name for each in found.nodes)
        raise click.ClickException(f"{found.name} has no node {node}; its nodes: {names}")
    on_node = ("--node", node) if node else ()
    _leave_for_guest(found, mem, "exec", *on_node, name, "--", *command)
    with _present(found):
        inside = ("ip", "netns", "exec", node) if node else ()
        try:
            status = subprocess.run(
                [*inside, *command], check=False, env=_environment(found)
            ).returncode
        except OSError as error:
            click.echo(f"{command[0]}: {error.strerror}", err=True)
            status = 127
    sys.exit(status if status >= 0 else 128 - status)


def _environment(found: Lab) -> dict[str, str]:
    """Return the environment of a command in a lab: `pe` is found, and finds the node."""
    programs = str(Path(sys.executable).parent)
    path = f"{programs}:{os.environ.get('PATH', os.defpath)}"
    socket = engine.ROOT / found.name / "{netns}/run/api.sock"
    return {"BULKHEAD_SOCKET": str(socket), **os.environ, "PATH": path}


def _load(name: str) -> Lab:
    try:
        return topologies.load(name)
    except topologies.UnknownLabError as error:
        raise click.ClickException(str(error)) from error


def _chosen() -> choice.Choice:
    try:
        return choice.choose()
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _leave_for_guest(found: Lab, mem: str, *words: str) -> None:
    """Run ``pe lab WORDS`` where the lab is and exit; return only if that is here."""
    try:
        if keeper.running(found.name):
            sys.exit(keeper.run(found.name, _again(*words)))
        chosen = _chosen()
        if chosen.kind is not choice.Kind.HOST:
            click.echo(f"lab kernel: {chosen.kind.value}, {chosen.reason}", err=True)
            sys.exit(choice.run(_again(*words), choice=chosen, mem=mem))
    except ERRORS as error:
        raise click.ClickException(str(error)) from error
    _only_here(words[0])


def _only_here(verb: str) -> None:
    if _chosen().kind is choice.Kind.QEMU:
        raise click.ClickException(f"`{verb}` is not for qemu: use test or exec")
    if os.geteuid() != 0:
        raise click.ClickException("labs on the host's own kernel need root")
    for folder in closed_folders():
        click.echo(
            f"warning: BGP speakers run without rights and cannot enter {folder}: "
            f"`chmod o+x {folder}`, or clone into another place",
            err=True,
        )


def _again(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("pe")), "lab", *words]


@contextlib.contextmanager
def _present(found: Lab) -> Iterator[engine.RunningLab]:
    """The lab as it is up already, left as it is; or brought up and taken down."""
    if (engine.ROOT / found.name).exists():
        yield engine.RunningLab(found)
        return
    try:
        running = engine.up(found)
    except ERRORS as error:
        raise click.ClickException(str(error)) from error
    try:
        _wait_for_sessions(running)
        yield running
    finally:
        engine.down(found)


def _wait_for_sessions(running: engine.RunningLab) -> None:
    """Wait until the PEs' BGP sessions are up: the first `pe show` then shows all routes."""
    routers = [node.name for node in running.lab.nodes for p in node.programs if p.name == "pe"]
    for name in routers:
        if not until(partial(all_established, running, name), SESSION_SECONDS, every=0.5):
            click.echo(f"warning: {name}: {sessions_text(running, name)}", err=True)
