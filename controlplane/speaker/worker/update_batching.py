"""UPDATEs that wait in a row are taken in one go, past the rounds of ExaBGP's loop.

With one route per UPDATE those rounds (timers, counters, polls) cost as much as the message itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import Direction, Message, Notify, Protocol
from controlplane.speaker.worker.updates import decode

LONGEST_ROW = 200
UPDATE = Message.CODE.UPDATE
SHORTEST_UPDATE = 23


def waiting_update(connection: Any) -> bytes | None:
    """Take the body of the next message if it is there as a whole and is a sound UPDATE."""
    held, start = connection.__dict__.get("bulkhead_held", (b"", 0))
    body = start + Message.HEADER_LEN
    if len(held) < body or held[start + 18] != UPDATE or not held.startswith(Message.MARKER, start):
        return None
    length = held[start + 16] << 8 | held[start + 17]
    if not SHORTEST_UPDATE <= length <= connection.msg_size or len(held) - start < length:
        return None
    connection.bulkhead_held = (held, start + length)
    return bytes(held[body : start + length])


class BatchingProtocol(Protocol):  # type: ignore[misc]
    """Reads rows of UPDATEs; everything else is left to ExaBGP."""

    def read_message(self) -> Iterator[Any]:
        """Yield the last UPDATE of a row, or what ExaBGP reads if there is none."""
        message = None
        for _ in range(LONGEST_ROW if self.negotiated.families else 0):
            body = waiting_update(self.connection)
            if body is None:
                break
            message = self._handled(body)
            self.peer.stats["receive-update"] += 1
        if message is not None:
            yield message
        else:
            yield from super().read_message()

    def _handled(self, body: bytes) -> Any:
        try:
            message = decode(body, Direction.IN, self.negotiated)
            self.peer.reactor.processes.message(UPDATE, self.neighbor, "receive", message)
        except Notify:
            raise
        except Exception as error:
            # As ExaBGP does: an exception of a parser ends the session, not the process.
            raise Notify(1, 0, f"can not decode UPDATE: {type(error).__name__}") from error
        return message


def install() -> None:
    """Put this in the place of ExaBGP's."""
    surface.replace(surface.peer_module, "Protocol", BatchingProtocol)
