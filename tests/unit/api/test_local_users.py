"""The Unix socket: the kernel says who is at the other end."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from labs.waiting import until
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


def test_no_name_that_another_user_could_take_is_used(public: Path) -> None:
    """Abstract names are free to all users: who took the next one kept root out (MGMT-11)."""
    with serving(node_intent(public, socket_mode=0o666)) as running:
        with grpc.insecure_channel(f"unix:{running.api.socket}") as channel:
            ask = channel.unary_unary("/bulkhead.v1.Node/ShowVrfs", bytes, bytes)
            ask(b"", timeout=10)
            mine = {path for path in public.rglob("*") if path.is_socket()}
            assert len(mine) == 3, "the socket, gRPC's own, and that of this connection"
            assert abstract_names() == []
            inner = running.api.socket.parent / "api-inner"
            assert stat.S_IMODE(inner.stat().st_mode) == 0o700
        assert until(lambda: len([p for p in public.rglob("*") if p.is_socket()]) == 2, 10)


def abstract_names() -> list[str]:
    """The abstract Unix addresses of this process's sockets."""
    links = (str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return [line[7] for line in lines if line[6] in mine and len(line) > 7 and line[7][0] == "@"]
