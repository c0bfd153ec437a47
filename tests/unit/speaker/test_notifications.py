"""Why a session ended, from the octets or the exception to the operator's line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.speaker.notifications import reason
from controlplane.speaker.worker.notifications import decode, down_report
from controlplane.speaker.worker.sessions import (
    NO_ANSWER,
    NO_ANSWER_MD5,
    SILENCE_SECONDS,
    BackoffOutgoing,
)
from controlplane.speaker.worker.surface import AFI, LostConnection, Notify, Outgoing


def said(data: bytes) -> str:
    """The operator's line for a NOTIFICATION of this body."""
    return reason(down_report("10.0.0.9", decode(data, None, None), "a text of ExaBGP's"))


def with_text(text: bytes, subcode: int = 2) -> bytes:
    return bytes((6, subcode, len(text))) + text


SHUTDOWN = "NOTIFICATION received: Cease, Administrative Shutdown (6,2)"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\6\2", SHUTDOWN),
        (b"\6\2\0", SHUTDOWN),
        (with_text(b"maintenance until 6"), f"{SHUTDOWN}: maintenance until 6"),
        (with_text(b"x" * 255), f"{SHUTDOWN}: {'x' * 255}"),
        (with_text("Störung bis 6".encode()), f"{SHUTDOWN}: Störung bis 6"),
        (with_text(b"one\nlevel=error \x1b[2J"), f"{SHUTDOWN}: one level=error  [2J"),
        (with_text(b"\xff\xfe"), f"{SHUTDOWN}: \ufffd\ufffd"),
        (b"\6\2\x40cut", f"{SHUTDOWN}: cut"),
        (with_text(b"by hand", 4),
         "NOTIFICATION received: Cease, Administrative Reset (6,4): by hand"),
        (b"\2\7\1\4\0\2\0\1", "NOTIFICATION received: OPEN Message Error, Unsupported "
         "Capability (2,7): data 0x010400020001"),
        (b"\6\3Peer De-configured", "NOTIFICATION received: Cease, Peer De-configured (6,3)"),
        (b"\6\7another one goes on", "NOTIFICATION received: Cease, Connection Collision "
         "Resolution (6,7): another one goes on"),
        (b"\4\0", "NOTIFICATION received: Hold Timer Expired (4,0)"),
        (b"\6", "NOTIFICATION received: error (0,0)"),
        (b"", "NOTIFICATION received: error (0,0)"),
    ],
)  # fmt: skip
def test_what_a_peer_sends(data: bytes, line: str) -> None:
    assert said(data) == line


@given(st.binary(max_size=300))
def test_any_octets_are_one_printable_line(data: bytes) -> None:
    assert said(data).isprintable()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Notify(6, 3), "NOTIFICATION sent: Cease, Peer De-configured (6,3)"),
        (Notify(6, 8, "the peer reads too slowly"),
         "NOTIFICATION sent: Cease, Out of Resources (6,8): the peer reads too slowly"),
        (LostConnection("reset by peer"), "connection lost: reset by peer"),
        (ValueError("x"), "what ExaBGP says"),
        ("", "what ExaBGP says"),
    ],
)  # fmt: skip
def test_what_ends_it_here(error: object, line: str) -> None:
    assert reason(down_report("10.0.0.9", error, "what ExaBGP says")) == line


@pytest.mark.parametrize(("key", "hint"), [("secret", NO_ANSWER_MD5), ("", NO_ANSWER)])
def test_silence_is_reported_once(key: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("controlplane.speaker.worker.sessions.time.monotonic", lambda: now)
    monkeypatch.setattr(Outgoing, "establish", lambda _: iter([False] * 5 + [True]))
    reported = []
    monkeypatch.setattr(BackoffOutgoing, "report", lambda _, report: reported.append(report.reason))
    attempt = BackoffOutgoing(AFI.ipv4, "10.0.0.9", "10.0.0.1", 179, key)
    tries = attempt.establish()
    next(tries)
    assert reported == []
    now += SILENCE_SECONDS + 1
    assert [*tries] == [False] * 4 + [True]
    assert reported == [hint]
    assert ("MD5" in hint) is bool(key)
