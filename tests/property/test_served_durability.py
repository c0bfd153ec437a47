"""The API, the policy and the store of a node, killed at random moments again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from bulkhead.client import connect

from tests.durability import Model, Writer, check_audit, in_node, settle

ROUNDS, LONGEST = 10, 0.4
SERVER = """
import sys, time
from pathlib import Path
from tests.unit.api.segment_serving import segment_desk
with segment_desk(Path(sys.argv[1])) as desk:
    print(desk.running.api.socket, desk.policy.intent.state_dir, flush=True)
    time.sleep(600)
"""


def test_killed_at_random_moments_it_loses_nothing_and_halves_nothing(tmp_path: Path) -> None:
    dice, model, answered, between = Random(5), Model(), 0, 0  # noqa: S311 - when to kill
    for _ in range(ROUNDS):
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout
        socket, folder = server.stdout.readline().split()
        with connect(socket) as client:
            assert in_node(client.segment, model.count) == model
        writer = Writer(socket, model)
        writer.start()
        assert writer.begun.wait(30.0)
        writer.join(dice.random() * LONGEST)
        os.kill(server.pid, signal.SIGKILL)
        server.communicate()
        writer.join(30.0)
        assert not writer.failed, writer.failed
        answered += writer.answered.count - model.count
        model = settle(Path(folder), writer.answered)
        between += model.count > writer.answered.count
        check_audit(Path(folder), answered)
    assert answered > 3 * ROUNDS, f"{answered} answered, {between} kept unanswered"
