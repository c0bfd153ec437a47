"""The frames in which a guest answers: kind, job, length, then that many bytes.

Both ends speak it: the agent inside the guest and the caller on the host. It imports
nothing but ``struct``, because the agent runs with a bare interpreter.
"""

import struct
from collections.abc import Iterator

HEADER = struct.Struct(">BII")

READY = 0
"""The guest is up and takes commands (job 0, no payload)."""
STDOUT = 1
STDERR = 2
EXITED = 3
"""The payload is the exit status as text; 128 + n for a process that died of signal n."""


def encode(kind: int, job: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    return HEADER.pack(kind, job, len(payload)) + payload


class Decoder:
    """Cuts a byte stream into frames, however the stream was chunked."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield every frame completed by ``data`` as (kind, job, payload)."""
        self._pending += data
        while len(self._pending) >= HEADER.size:
            kind, job, length = HEADER.unpack_from(self._pending)
            end = HEADER.size + length
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[HEADER.size : end])
            del self._pending[:end]
            yield kind, job, payload
