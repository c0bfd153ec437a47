"""Fuzz for a bounded time: ``python -m tests.fuzz [SECONDS [PATH...]]``.

The property tests run again and again, each time with a new seed, which is printed: with
``--hypothesis-seed=SEED`` the same inputs are drawn again. A run that is under way when the time
is up is ended, and counts for nothing. The first failure ends it; Hypothesis keeps the smallest
input that fails for the next ordinary run.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence

SECONDS = 600.0
PLACES = ("tests/property",)
FRESH = "FRESH_INPUTS"
"""Set in the environment: draw new inputs, also where a gate draws always the same."""


def main(argv: Sequence[str]) -> int:
    """Run until the time is up or something fails; 0, or the exit status of that pytest."""
    seconds = float(argv[0]) if argv else SECONDS
    places = argv[1:] or PLACES
    deadline, runs = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0:
        seed = random.SystemRandom().getrandbits(32)
        print(f"fuzz: seed {seed}, {left:.0f} s left", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider"]
        command += [f"--hypothesis-seed={seed}", *places]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=left,
                env={**os.environ, FRESH: "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            break
        runs += 1
        if done.returncode:
            print(f"{done.stdout}{done.stderr}\nfuzz: failed with seed {seed}", flush=True)
            return done.returncode
    print(f"fuzz: {runs} whole runs, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
