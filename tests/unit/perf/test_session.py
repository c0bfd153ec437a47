"""The sender's session against a peer at the other end of a socket pair."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from time import monotonic

import pytest

from perf import messages, sender

KEEPALIVE = messages.message(messages.KEEPALIVE)
ADDRESS = IPv4Address("10.255.0.1")


@pytest.fixture
def ends() -> Iterator[tuple[sender.Session, socket.socket]]:
    ours, theirs = socket.socketpair()
    session = sender.Session(ours, messages.open_message(65000, ADDRESS, 90), 90)
    yield session, theirs
    session.close()
    theirs.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sender's clock, in seconds, to be moved by the test."""
    now = [monotonic()]
    monkeypatch.setattr(sender, "monotonic", lambda: now[0])
    return now


def establish(session: sender.Session, peer: socket.socket) -> None:
    """Have the peer open with a hold time of 9 s, and take what the session sends for it."""
    peer.sendall(open_with(9) + KEEPALIVE)
    session.read()
    session.write()


def open_with(hold_time: int) -> bytes:
    return messages.open_message(65000, ADDRESS, hold_time)


def test_our_open_goes_before_the_answer_to_theirs(
    ends: tuple[sender.Session, socket.socket],
) -> None:
    session, peer = ends
    peer.sendall(open_with(90))
    session.read()
    session.write()
    assert peer.recv(4096) == open_with(90) + KEEPALIVE
    assert not session.established
    peer.sendall(KEEPALIVE)
    session.read()
    assert session.established


def test_a_shorter_hold_time_of_the_peer_makes_keepalives_come_more_often(
    ends: tuple[sender.Session, socket.socket], clock: list[float]
) -> None:
    session, peer = ends
    establish(session, peer)
    peer.recv(4096)
    clock[0] += 3.1
    session.send([b"chunk"])
    session.write()
    assert peer.recv(4096) == KEEPALIVE + b"chunk"


def test_keepalives_go_on_between_the_chunks_of_a_long_queue(
    ends: tuple[sender.Session, socket.socket], clock: list[float]
) -> None:
    session, peer = ends
    establish(session, peer)
    update = messages.end_of_rib()
    session.send([update * 2000] * 40)
    peer.setblocking(False)
    received = b""
    while not session.idle:
        session.write()
        clock[0] += 1
        received += peer.recv(1 << 20)
    kinds = [received[at + 18] for at in starts(received)]
    assert kinds.count(messages.UPDATE) == 2 * 2000 * 40
    gaps = [at for at, kind in enumerate(kinds) if kind == messages.KEEPALIVE]
    assert len(gaps) > 3


def starts(stream: bytes) -> Iterator[int]:
    at = 0
    while at + 19 <= len(stream):
        assert stream[at : at + 16] == messages.MARKER
        yield at
        at += struct.unpack_from("!H", stream, at + 16)[0]


def test_a_notification_ends_the_session_and_says_which(
    ends: tuple[sender.Session, socket.socket],
) -> None:
    session, peer = ends
    peer.sendall(messages.message(messages.NOTIFICATION, b"\x06\x02bye"))
    with pytest.raises(sender.PeerGoneError, match="6/2"):
        session.read()


def test_a_closed_connection_ends_the_session(
    ends: tuple[sender.Session, socket.socket],
) -> None:
    session, peer = ends
    peer.close()
    with pytest.raises(sender.PeerGoneError):
        session.read()
