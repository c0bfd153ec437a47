"""The Unix socket: the kernel says who is at the other end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.serving import node_intent, serving

# As root first, so that all is imported; then as another user, over a connection of its own.
CLIENT = """
import os, sys, grpc
options = [("grpc.use_local_subchannel_pool", 1)]
def ask(method):
    with grpc.insecure_channel("unix:" + sys.argv[1], options=options) as channel:
        try:
            call = channel.unary_unary("/bulkhead.v1.Node/" + method, bytes, bytes)
            call(b"", timeout=5)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name
print(ask("ShowVrfs"), ask("Reload"))
os.setgid(54321)
os.setuid(54321)
print(ask("ShowVrfs"), ask("Reload"))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can enter, as the test's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize(("mode", "answer"), [(0o666, "OK PERMISSION_DENIED"),
                                              (0o660, "UNAVAILABLE UNAVAILABLE")])  # fmt: skip
def test_another_user_may_look_where_the_mode_lets_him_in(
    public: Path, mode: int, answer: str
) -> None:
    with serving(node_intent(public, socket_mode=mode)) as running:
        command = [sys.executable, "-c", CLIENT, str(running.api.socket)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        assert out.stdout.splitlines() == ["OK OK", answer]
        users = [entry["who"] for entry in running.audit if entry["phase"] != "asked"]
        assert users == ["uid:0", "uid:54321"][: 2 if mode == 0o666 else 1]
