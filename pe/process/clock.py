"""Read the clocks, for the parts that must not."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from controlplane.model.instant import BootTime, Instant

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> Instant:
    """Read all three clocks."""
    return Instant(time.monotonic(), time.time(), boot_now())


def boot_now() -> BootTime:
    """Read the boot clock."""
    return BootTime(boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))


@functools.cache
def boot_id() -> str:
    """Read which boot of the machine this is."""
    return BOOT_ID.read_text(encoding="ascii").strip()
