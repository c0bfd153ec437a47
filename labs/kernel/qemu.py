"""Runs a command on an unchanged distribution kernel in QEMU, for a smoke test.

The kernel package is downloaded and unpacked into the cache, not installed; virtme-ng
(in a virtual environment of its own, in the cache too) boots it over the host's files,
which it sees read-only. Without hardware virtualisation everything is ten to twenty times
slower than on the host.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from labs.kernel import cache
from labs.kernel.build import INSTALLER, BuildError
from labs.kernel.guest import INSIDE, TIMED_OUT, GuestDiedError, root_path, to_stream
from labs.kernel.probe import MODULES
from labs.waiting import until

META_PACKAGES = ("linux-image-6.12-amd64", "linux-image-amd64", "linux-image-generic")
STREAMS = {"stdout": 1, "stderr": 2}


def run(
    argv: Sequence[str],
    *,
    mem: str = "2G",
    timeout: float | None = None,
    results: Path | None = None,
) -> int:
    """Boot, run ``argv`` as root, power off; return its exit status (124: took too long).

    ``results`` is the directory that it may write to on the host. Raises BuildError when
    something could not be installed, GuestDiedError when the kernel does not come up.
    """
    if subprocess.run([INSTALLER, "qemu"], check=False).returncode:
        raise BuildError("the packages that QEMU needs could not be installed")
    image, vng = _image(), _virtme()
    # /dev/kvm may exist and still be unable to run a stock kernel: that shows only when
    # one tries. A file says whether the command was reached, which a failed command alone does not.
    accelerated: tuple[list[str], ...] = ([],) if os.access("/dev/kvm", os.W_OK) else ()
    said = ""
    for flags in (*accelerated, ["--disable-kvm"]):
        with tempfile.TemporaryDirectory(prefix="bulkhead-qemu-") as scratch:
            control = Path(scratch)
            _write_script(control, argv, os.environ)
            shared = [control, *([results] if results else [])]
            command = [str(vng), *flags, *_options(image, mem, shared), "--", f"sh {control}/run"]
            try:
                said = _boot(command, control, timeout)
            except subprocess.TimeoutExpired:
                return TIMED_OUT
            if (control / "status").exists():
                return int((control / "status").read_text())
    raise GuestDiedError("the kernel in QEMU did not come up\n" + said)


def _options(image: Path, mem: str, shared: Sequence[Path]) -> list[str]:
    # virtiofs would need a daemon of its own; 9p is in every QEMU.
    fixed = ["--run", str(image), "--user", "root", "--cpus", "1", "--memory", mem, "--force-9p"]
    return [*fixed, *(f"--rwdir={path.resolve()}" for path in shared)]


def _write_script(control: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
    inside = {**env, INSIDE: "qemu", "TMPDIR": "/run/lab-tmp"}
    inside["PATH"] = root_path(inside.get("PATH", ""))
    names = {key: value for key, value in inside.items() if re.fullmatch(r"[A-Za-z_]\w*", key)}
    lines = [
        *(f"export {key}={shlex.quote(value)}" for key, value in names.items()),
        f"for module in {' '.join(MODULES)}; do modprobe -q $module; done",
        "mkdir -p /run/lab-tmp && ip link set lo up",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"{shlex.join(argv)} >{control}/stdout 2>{control}/stderr </dev/null",
        f"echo $? >{control}/status",
    ]
    (control / "run").write_text("\n".join(lines) + "\n")
    for stream in STREAMS:
        (control / stream).touch()


def _boot(command: Sequence[str], control: Path, timeout: float | None) -> str:
    """Run QEMU until it ends, passing on what the command prints; raises TimeoutExpired."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"},
    )
    followers = [
        threading.Thread(target=_follow, args=(control / name, descriptor, process))
        for name, descriptor in STREAMS.items()
    ]
    for follower in followers:
        follower.start()
    try:
        said, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
        for follower in followers:
            follower.join()
    return said[-2000:]


def _follow(path: Path, descriptor: int, process: subprocess.Popen[str]) -> None:
    send = to_stream(descriptor)
    with path.open("rb") as file:
        while until(lambda: file.peek(1) or process.returncode is not None, 3600, every=0.2):
            if not (data := file.read()):
                return
            send(data)


def _image() -> Path:
    packages = _packages()
    directory = cache.directory() / "qemu" / packages[0]
    if not directory.exists():
        _say(f"downloading {' '.join(packages)}")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            _must(["apt-get", "download", "-o", "APT::Sandbox::User=root", *packages], scratch)
            for archive in Path(scratch).glob("*.deb"):
                _must(["dpkg-deb", "--extract", str(archive), "root"], scratch)
            (Path(scratch) / "root").rename(directory)
    return next((directory / "boot").glob("vmlinuz-*"))


def _packages() -> list[str]:
    """The packages with the newest kernel image and its modules, image first."""
    for meta in META_PACKAGES:
        if names := _kernel_packages(meta):
            # Ubuntu's image has its modules in a package that only the image depends on.
            more = [name for image in names for name in _kernel_packages(image)]
            return sorted({*names, *more})
    raise BuildError(f"none of these packages is offered: {', '.join(META_PACKAGES)}")


def _kernel_packages(package: str) -> list[str]:
    """The kernel packages that a package depends on."""
    said = subprocess.run(
        ["apt-cache", "depends", "--important", package],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return re.findall(r"Depends: (linux-(?:image|modules)\S+)", said)


def _virtme() -> Path:
    environment = cache.directory() / "qemu" / "virtme"
    program = environment / "bin" / "vng"
    if not program.exists():
        _say("installing virtme-ng")
        _must([sys.executable, "-m", "venv", str(environment)], "/")
        _must([str(environment / "bin" / "pip"), "install", "--quiet", "virtme-ng"], "/")
    return program


def _must(argv: list[str], cwd: str) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{shlex.join(argv)} failed\n{done.stderr[-1000:]}")


def _say(text: str) -> None:
    sys.stderr.write(f"qemu: {text}\n")
