"""How much memory a flood of path attributes takes: one prefix, announced over and over, each time
with nearly a thousand communities that were never there before. A router that keeps the attributes
of former announcements grows with each of them."""

from __future__ import annotations

import subprocess

import msgspec

from labs.lab import running
from perf.fib import Fib
from perf.network import PE, network
from perf.receivers import Receiver
from perf.remote import Sender
from perf.results import FloodRun
from perf.routing import ESTABLISH_SECONDS, Watch, peaks
from perf.workload import Workload

UPDATES = 5000
FLOOD_SECONDS = 120.0
LOAD = Workload(routes=10, vrfs=10, per_update=1)


def run(receiver: Receiver, updates: int = UPDATES) -> FloodRun:
    """Measure one router. Never raises for what the router fails to do: that is ``failure``."""
    result = FloodRun(receiver=receiver.name, updates=updates)
    try:
        with running(network(receiver, LOAD)) as lab, Sender(lab, LOAD, updates) as sender:
            sender.expect("established", ESTABLISH_SECONDS)
            with Fib(PE) as tables:
                watch = Watch(lab, tables, LOAD)
                watch.all_installed()
                before = peaks()
                begun = sender.flood()
                sender.expect("flooded", FLOOD_SECONDS)
                sender.withdraw()  # taken only when all that came before it is
                gone = watch.all_gone()
            return msgspec.structs.replace(
                result, before=before, after=peaks(), seconds=gone - begun
            )
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        return msgspec.structs.replace(result, failure=str(error) or repr(error))
