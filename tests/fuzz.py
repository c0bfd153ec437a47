"""Fuzzes for as long as it is told to: ``python -m tests.fuzz [SECONDS [PATH...]]``.

The property tests are run again and again, each time with a new seed, so that they go on
to inputs that a single run has no time for. It stops at the first failure, names the seed,
and Hypothesis keeps the smallest input that fails for the next ordinary run.
"""

import random
import subprocess
import sys
import time
from collections.abc import Sequence

SECONDS = 600.0
PLACES = ("tests/property",)


def main(argv: Sequence[str]) -> int:
    """Run until the time is up or something fails; 0, or the exit status of that pytest."""
    seconds = float(argv[0]) if argv else SECONDS
    places = argv[1:] or PLACES
    started, runs = time.monotonic(), 0
    while not runs or time.monotonic() - started < seconds:
        seed = random.SystemRandom().getrandbits(32)
        runs += 1
        print(f"fuzz: run {runs}, seed {seed}, {time.monotonic() - started:.0f} s", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={seed}", *places]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{done.stdout}{done.stderr}\nfuzz: failed with seed {seed}", flush=True)
            return done.returncode
    print(f"fuzz: {runs} runs, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
