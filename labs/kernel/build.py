"""Builds a User-Mode Linux kernel once, from the distribution's own kernel source.

The result is cached under a name that holds everything it was made from: the version of
the source package, the configuration and the changes to the source. About five minutes
on two cores; progress is printed meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labs.kernel import cache

PREFERRED = "linux-source-6.12"
FRAGMENT = Path(__file__).parent / "uml.config"
INSTALLER = Path(__file__).parent.parent / "setup" / "packages.sh"
REQUIRED = (
    *("HOSTFS", "OVERLAY_FS", "NET_VRF", "MPLS_ROUTING", "MPLS_IPTUNNEL"),
    *("NF_TABLES_NETDEV", "NETFILTER_INGRESS", "NETFILTER_EGRESS"),
)
MERGED = frozenset({"NFT_OBJREF"})
"""Options of older kernels, whose work newer ones do without being asked."""

CHANGES = "HOST_FP_SIZE=12288"
"""What ``_patch`` does, as part of the cache's key."""

PROGRESS_SECONDS = 15.0


class BuildError(RuntimeError):
    """The kernel could not be built; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel source package: its name and version, as the package manager has them."""

    package: str
    version: str

    @property
    def archive(self) -> Path:
        """The file that the package installed; Debian and Ubuntu compress differently."""
        found = sorted(Path("/usr/src").glob(f"{self.package}.tar.*"))
        if not found:
            raise BuildError(f"{self.package} has put no archive into /usr/src")
        return found[0]

    def key(self) -> str:
        """Return the name in the cache of a kernel made from this source by this code."""
        material = f"{self.package} {self.version}\n{CHANGES}\n{FRAGMENT.read_text()}"
        return hashlib.sha256(material.encode()).hexdigest()[:16]


def kernel() -> Path:
    """Return the path of the lab kernel, built first if there is none; raises BuildError.

    ``BULKHEAD_UML_KERNEL`` names one that was made by other means.
    """
    if given := os.environ.get("BULKHEAD_UML_KERNEL"):
        return Path(given)
    source = find_source()
    target = path_of(source)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.parent):
        if not target.exists():
            _build(source, target)
    return target


def path_of(source: Source) -> Path:
    """Return where the kernel made from ``source`` is or will be."""
    return cache.directory() / "kernel" / source.key() / "linux"


def find_source() -> Source:
    """Return the preferred source package, else the newest there is; raises BuildError.

    A fresh machine's package lists are old or empty: before anything but the preferred one is
    built, they are fetched.
    """
    source = _known_source()
    if source is None or (source.package != PREFERRED and not path_of(source).exists()):
        _refresh_lists()
        source = _known_source()
    if source is None:
        raise BuildError(
            "no linux-source-* package found: this needs Debian or Ubuntu, or a User-Mode Linux"
            " kernel of your own named by BULKHEAD_UML_KERNEL"
        )
    return source


def _known_source() -> Source | None:
    for package in (PREFERRED, *_offered()):
        if version := _version(package):
            return Source(package, version)
    return None


@functools.cache
def _refresh_lists() -> None:
    """Once a process; that it fails (no network, no root) leaves what is known already."""
    with contextlib.suppress(FileNotFoundError):
        subprocess.run([INSTALLER, "lists"], check=False)


def _offered() -> Iterator[str]:
    names = _output("apt-cache", "search", "--names-only", r"^linux-source-[0-9.]+$").split("\n")
    packages = {name.split()[0] for name in names if name}
    yield from sorted(
        packages, key=lambda name: [*map(int, re.findall(r"\d+", name))], reverse=True
    )


def _version(package: str) -> str | None:
    installed = _output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package)
    if installed.startswith("installed "):
        return installed.split()[1]
    policy = re.search(r"Candidate: (\S+)", _output("apt-cache", "policy", package))
    return policy[1] if policy and policy[1] != "(none)" else None


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("someone else is building it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(source: Source, target: Path) -> None:
    started = time.monotonic()
    _say(f"the lab kernel is built once, from {source.package} {source.version} (minutes)")
    _install(source)
    log = target.parent / "build.log"
    for leftover in target.parent.glob("build-*/"):  # of a build that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
        tree = _unpack(source, Path(scratch), log)
        _patch(tree)
        _configure(tree, log)
        _make(tree, log, _note_of_size(target), "linux")
        subprocess.run(["strip", "linux"], cwd=tree, check=True)
        (tree / "linux").rename(target)
    _say(f"the lab kernel is ready after {time.monotonic() - started:.0f} s: {target}")


def _install(source: Source) -> None:
    if subprocess.run([INSTALLER, "kernel", source.package], check=False).returncode:
        raise BuildError(f"the packages to build {source.package} with could not be installed")


def _unpack(source: Source, scratch: Path, log: Path) -> Path:
    _say("unpacking the source")
    log.write_bytes(b"")
    _logged(["tar", "--extract", "--file", str(source.archive), "--directory", "."], scratch, log)
    return next(scratch.iterdir())


def _patch(tree: Path) -> None:
    """Make room for the saved FPU state of CPUs that have more of it than the source knew.

    Up to 6.12, arch/x86/um/user-offsets.c has a fixed size, and a guest on a CPU with a
    larger state (AMX) dies at its first process; later ones size it at run time.
    """
    offsets = tree / "arch/x86/um/user-offsets.c"
    if not offsets.exists():
        return
    text = offsets.read_text()
    offsets.write_text(re.sub(r"(HOST_FP_SIZE,\s*)\d+", r"\g<1>12288", text))


def _configure(tree: Path, log: Path) -> None:
    _logged(["make", "ARCH=um", "defconfig"], tree, log)
    _logged(["scripts/kconfig/merge_config.sh", "-m", ".config", str(FRAGMENT)], tree, log)
    _logged(["make", "ARCH=um", "olddefconfig"], tree, log)
    chosen = set((tree / ".config").read_text().splitlines())
    wanted = [line for line in FRAGMENT.read_text().splitlines() if line.startswith("CONFIG_")]
    missing = [line[7:-2] for line in wanted if line.endswith("=y") and line not in chosen]
    if told := [name for name in missing if name not in MERGED]:
        _say("this kernel version does without " + " ".join(told))
    if lost := set(missing) & set(REQUIRED):
        raise BuildError(f"this kernel source cannot do {', '.join(sorted(lost))}")


def _note_of_size(target: Path) -> Path:
    return target.parent.parent / "objects"


def _make(tree: Path, log: Path, size: Path, goal: str) -> None:
    """Run make and print now and then how far it is against the last build's object count."""
    last = int(size.read_text()) if size.exists() else 0
    objects = _Progress(last)
    command = ["make", "ARCH=um", f"-j{len(os.sched_getaffinity(0))}", goal]
    _logged(command, tree, log, objects.saw)
    size.write_text(str(objects.count))


class _Progress:
    """Counts make's lines and speaks up every quarter of a minute."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last
        self._started = self._spoke = time.monotonic()

    def saw(self, line: bytes) -> None:
        self.count += line.startswith(b"  ")
        now = time.monotonic()
        if now - self._spoke >= PROGRESS_SECONDS:
            self._spoke = now
            of = f" of about {self._last}" if self._last else ""
            _say(f"compiling, {now - self._started:.0f} s, {self.count}{of} steps")


def _logged(
    argv: list[str], cwd: Path, log: Path, each: Callable[[bytes], None] = lambda _line: None
) -> None:
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if key not in _MAKES_OWN},
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is PIPE
        for line in process.stdout:
            sink.write(line)
            each(line)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        kept = shutil.copy(log, cache.directory() / "kernel" / "failed-build.log")
        raise BuildError(f"{argv[0]} failed; the whole log is in {kept}\n{tail}")


# Set when `make lab` calls us; they would steer the kernel's make as well.
_MAKES_OWN = frozenset({"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"})


def _say(text: str) -> None:
    sys.stderr.write(f"lab kernel: {text}\n")
    sys.stderr.flush()
