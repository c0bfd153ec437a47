"""How much a worker's limits leave it, by the sessions that it starts with."""

from __future__ import annotations

SPARE_SESSIONS = 250
"""So many more than the double a worker may get while it runs, before another one is started."""
FILES, FILES_OF_A_SESSION = 64, 4
"""A session has its connection, one that crosses it, and a listener of each of its addresses."""


def room_for(sessions: int) -> int:
    """Return how many sessions a worker that starts with so many may have at most."""
    return 2 * sessions + SPARE_SESSIONS


def files_for(sessions: int) -> int:
    """Return how many descriptors such a worker may have."""
    return FILES + FILES_OF_A_SESSION * room_for(sessions)
