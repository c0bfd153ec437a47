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


# As root, more connections than one peer gets; then as another user: the last one is refused.
MANY = """
import os, sys, grpc
options = [("grpc.use_local_subchannel_pool", 1)]
def open_all(count):
    channels, answers = [], []
    for number in range(count):
        channels.append(grpc.insecure_channel("unix:" + sys.argv[1], options=options))
        call = channels[-1].unary_unary("/bulkhead.v1.Node/ShowVrfs", bytes, bytes)
        try:
            call(b"", timeout=5)
            answers.append("OK")
        except grpc.RpcError as error:
            answers.append(f"{error.code().name} {error.details()}")
    return channels, answers
held, answers = open_all(int(sys.argv[2]))
print(answers.count("OK"), len(answers))
os.setgid(54321)
os.setuid(54321)
others, answers = open_all(int(sys.argv[3]))
print(answers.count("OK"), len(answers))
print(answers[-1])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_limit_of_one_peer_is_not_for_root_and_others_are_refused_in_words(
    public: Path,
) -> None:
    with serving(node_intent(public, socket_mode=0o666)) as running:
        command = [sys.executable, "-c", MANY, str(running.api.socket), "20", "17"]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        root, other, words = out.stdout.splitlines()
        assert root == "20 20"
        assert other == "16 17"
        assert "uid 54321 has too many connections: 16 at most" in words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_other_users_cannot_keep_root_out_nor_root_take_everything(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.api.access.listener.MAX_CONNECTIONS", 4)
    with serving(node_intent(public, socket_mode=0o666)) as running:
        command = [sys.executable, "-c", MANY, str(running.api.socket), "5", "5"]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert out.stdout.splitlines()[:2] == ["4 5", "4 5"]


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


ROOT_BY_SUDO = """
import sys
from bulkhead.client import connect
with connect(sys.argv[1]) as node:
    node.reload()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's environment is read")
def test_the_audit_log_has_the_person_behind_root(tmp_path: Path) -> None:
    with serving(node_intent(tmp_path)) as running:
        for user in ({"SUDO_USER": "alice"}, {}):
            command = [sys.executable, "-c", ROOT_BY_SUDO, str(running.api.socket)]
            environment = {k: v for k, v in os.environ.items() if k != "SUDO_USER"} | user
            subprocess.run(command, env=environment, check=True, timeout=30)
        lines = [entry for entry in running.audit if entry["phase"] == "ended"]
        assert [entry["who"] for entry in lines] == ["uid:0", "uid:0"]
        assert "sudo alice" in lines[0]["person"]
        assert "sudo" not in lines[1].get("person", "")
