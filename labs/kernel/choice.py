"""Chooses the kernel that a lab runs on, says why, and runs a command on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from labs.kernel import guest, probe

OVERRIDE = "BULKHEAD_LAB_KERNEL"


class Kind(StrEnum):
    """Where a lab can run."""

    HOST = "host"
    UML = "uml"
    QEMU = "qemu"


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel chosen and the reason, with what the probe found (empty if not asked)."""

    kind: Kind
    reason: str
    findings: tuple[probe.Finding, ...] = ()

    def describe(self) -> str:
        """Return the finding of each trial, a line each, and the choice."""
        lines = [
            f"{'yes' if finding.present else 'no ':3}  {finding.capability}: {finding.evidence}"
            for finding in self.findings
        ]
        return "\n".join([*lines, f"chosen: {self.kind.value}, {self.reason}"])


def choose(environ: Mapping[str, str] = os.environ, *, ask: bool = False) -> Choice:
    """Choose by ``BULKHEAD_LAB_KERNEL`` if set, else by what the host's kernel can do.

    ``ask`` probes the host even if the answer will not matter. Raises ValueError for a
    kind that does not exist.
    """
    named = environ.get(OVERRIDE)
    inside = environ.get(guest.INSIDE)
    host = probe.host_kernel() if ask or not (named or inside) else None
    findings = host.findings if host else ()
    if inside:
        return Choice(Kind.HOST, f"because this is the lab kernel already ({inside})", findings)
    if named:
        return Choice(Kind(named), f"because {OVERRIDE} says so", findings)
    assert host is not None  # noqa: S101 - probed above in the one case that gets here
    if host.sufficient:
        return Choice(Kind.HOST, f"because this kernel ({host.release}) does all of it", findings)
    reason = f"because this kernel ({host.release}) lacks: {host.lacks}"
    return Choice(Kind.UML, reason, findings)


def run(
    argv: Sequence[str],
    *,
    choice: Choice | None = None,
    mem: str = "4G",
    timeout: float | None = None,
    results: Path | None = None,
) -> int:
    """Run ``argv`` as root on a kernel fit for labs, here or in a guest; its exit status."""
    kind = (choice or choose()).kind
    if kind is Kind.HOST:
        try:
            return subprocess.run(argv, timeout=timeout, check=False).returncode
        except subprocess.TimeoutExpired:
            return guest.TIMED_OUT
    if kind is Kind.QEMU:
        from labs.kernel import qemu

        return qemu.run(argv, mem=mem, timeout=timeout, results=results)
    return guest.run_in_guest(argv, mem=mem, timeout=timeout, results=results)
