"""Start ExaBGP, joined to the node through inherited file descriptors.

``python -m controlplane.speaker.worker PARENT COMMANDS REPORTS [DEVICE]``: the node's process id,
the two ends of pipes, and the VRF device for listening sockets. The first line that arrives is the
configuration.
"""

from __future__ import annotations

import os
import sys

import msgspec

from controlplane.confine.process import end_with
from controlplane.speaker import wire


def main(arguments: list[str]) -> int:
    """Run until the node ends it; the exit status is ExaBGP's.

    A worker that does not fit the installed ExaBGP reports the first thing that differs and ends
    with EX_CONFIG: with a replaced part that is never called it would forward wrong routes.
    """
    parent, commands, reports = map(int, arguments[:3])
    end_with(parent)  # its memory has the sessions' keys
    try:
        # A name that is gone fails the import itself.
        from controlplane.speaker.worker import surface

        faults = surface.faults()
    except (ImportError, AttributeError) as error:
        faults = [str(error)]
    if faults:
        return refuse(reports, faults)
    from controlplane.speaker.worker import reactor

    return reactor.run(commands, reports, device=arguments[3] if len(arguments) > 3 else "")


def refuse(reports: int, faults: list[str]) -> int:
    """Report why this worker does not start; the exit status."""
    from importlib.metadata import version

    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    reason = f"ExaBGP {version('exabgp')} does not fit this worker: {faults[0]}{more}"
    os.write(reports, msgspec.json.encode(wire.Unusable(reason)) + b"\n")
    return os.EX_CONFIG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
