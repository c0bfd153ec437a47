"""Refuse a connection in words: gRPC's own status, in the few HTTP/2 frames that takes.

A connection that is merely closed looks to its client like a node that is not there.
"""

from __future__ import annotations

import asyncio
import contextlib

PATIENCE_SECONDS = 2.0
_PREFACE = 24
_HEADERS, _SETTINGS, _GOAWAY = 1, 4, 7
_END_STREAM_AND_HEADERS = 0x5
_LONGEST_FRAME = 16 << 10
"""RFC 9113, 3.4, 4.1, 4.2, 6.2, 6.5, 6.8: what a client may send before it has our settings."""
_STATUS_200 = b"\x88"
"""`:status: 200` of the static table (RFC 7541, appendix A)."""
_RESOURCE_EXHAUSTED = b"8"


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> None:
    """Answer the first call of a connection with RESOURCE_EXHAUSTED and `text` (ASCII, no `%`)."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(_frame(_SETTINGS, 0, 0, b""))
            stream = await _first_call(reader)
            writer.write(_frame(_HEADERS, _END_STREAM_AND_HEADERS, stream, _trailers(text)))
            writer.write(_frame(_GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4)))
            await writer.drain()
            while await reader.read(_LONGEST_FRAME):  # until the client has read it and leaves
                pass


async def _first_call(reader: asyncio.StreamReader) -> int:
    """Return the number of the stream on which a client calls first."""
    await reader.readexactly(_PREFACE)
    while True:
        head = await reader.readexactly(9)
        length, kind, stream = int.from_bytes(head[:3]), head[3], int.from_bytes(head[5:])
        if length > _LONGEST_FRAME:
            raise OSError("a frame longer than a client may send yet")
        await reader.readexactly(length)
        if kind == _HEADERS:
            return stream


def _trailers(text: str) -> bytes:
    fields = (
        (b"content-type", b"application/grpc"),
        (b"grpc-status", _RESOURCE_EXHAUSTED),
        (b"grpc-message", text.encode()),
    )
    return _STATUS_200 + b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(value: bytes) -> bytes:
    """Return a literal without Huffman code, shorter than 127 (RFC 7541, 5.2)."""
    return bytes((len(value[:126]),)) + value[:126]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
