"""The Unix socket's name appears once it takes connections."""

from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path

import pytest

from controlplane.api.access.listener import unix_listener

TRIES = 300


def test_who_waits_for_the_name_is_never_refused(tmp_path: Path) -> None:
    """Between bind and listen the kernel refuses (ECONNREFUSED), as if no node were there."""
    answers: list[str] = []

    def connect(path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            while True:
                try:
                    client.connect(str(path))
                except FileNotFoundError:
                    continue
                except ConnectionRefusedError:
                    answers.append("refused")
                    return
                answers.append("taken")
                return

    for number in range(TRIES):
        path = tmp_path / f"api{number}.sock"
        client = threading.Thread(target=connect, args=(path,))
        client.start()
        with unix_listener(path, 0o660):
            client.join(10.0)
    assert answers == ["taken"] * TRIES


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    for _ in range(2):
        with unix_listener(path, 0o640) as listener, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert listener.getsockname()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["api.sock"]


def test_a_refused_one_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "api.sock").mkdir()
    with pytest.raises(IsADirectoryError):
        unix_listener(tmp_path / "api.sock", 0o640)
    assert [each.name for each in tmp_path.iterdir()] == ["api.sock"]
