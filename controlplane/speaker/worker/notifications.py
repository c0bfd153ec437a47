"""NOTIFICATIONs of peers: why a session ended, and the text that came with it (RFC 9003)."""

from __future__ import annotations

from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import NetworkError, Notification, Notify

CEASE = 6
WITH_TEXT = frozenset({2, 4})
"""Subcodes of Cease that carry a text: administrative shutdown and reset."""

MOST_TEXT = 255


def decode(data: bytes, direction: Any, negotiated: Any) -> Any:
    """Return the NOTIFICATION of this body; stands in for ``Notification.unpack_message``.

    ExaBGP takes a text of more than 128 octets for an error, and puts words of its own around it.
    """
    del direction, negotiated
    code, subcode = (data[0], data[1]) if len(data) > 1 else (0, 0)
    made = Notification(code, subcode, data[2:], False)
    made.bulkhead_text = shutdown_text(code, subcode, data[2:])
    return made


def shutdown_text(code: int, subcode: int, data: bytes) -> str:
    """Return the text of an administrative Cease; other data as text if it is, else in octets.

    ExaBGP puts a text into every NOTIFICATION that it sends.
    """
    if not data:
        return ""
    if code == CEASE and subcode in WITH_TEXT:
        return printable(data[1 : 1 + data[0]])
    if data.isascii() and data.decode().isprintable():
        return printable(data)
    return f"data 0x{data[:MOST_TEXT].hex()}"


def printable(text: bytes) -> str:
    """Return text without what could forge a line or steer a terminal."""
    shown = text.decode(errors="replace")[:MOST_TEXT]
    return "".join(c if c.isprintable() else " " for c in shown).strip()


def down_report(peer: str, error: Any, reason: str) -> wire.Down:
    """Return why a connection ended, by the kind of the exception that ended it."""
    if isinstance(error, Notify):
        return wire.Down(peer, "sent", error.code, error.subcode, printable(error.data))
    if isinstance(error, Notification):
        text = error.__dict__.get("bulkhead_text", "")
        return wire.Down(peer, "received", error.code, error.subcode, text)
    if isinstance(error, NetworkError):
        return wire.Down(peer, "lost", text=str(error)[:MOST_TEXT])
    return wire.Down(peer, "ended", text=reason[:MOST_TEXT])


def install() -> None:
    """Put ``decode`` in the place of ExaBGP's."""
    surface.replace(Notification, "unpack_message", staticmethod(decode))
