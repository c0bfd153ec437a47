"""The control plane's actions -> lines for the worker, made only when the pipe takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import (
    Announce,
    RequestRefresh,
    ResetSession,
    SendEndOfRib,
    Withdraw,
)
from controlplane.model.prefix import Afi, Family, IPAddress
from controlplane.speaker import wire
from controlplane.speaker.attributes import CACHE_OCTETS, to_wire
from controlplane.speaker.nlri import family_numbers, pack_nlri
from controlplane.speaker.octet_cache import OctetCache

ROUTES_PER_LINE = 1000
Action = Announce | Withdraw | SendEndOfRib | RequestRefresh | ResetSession

_encode = msgspec.json.Encoder().encode
_MAPPED = bytes(10) + b"\xff\xff"


class CommandQueue:
    """What waits for one worker, oldest first; bounded by ``limit`` routes.

    Each action is kept with the number of the session that it was meant for, so that what was meant
    for a session that is over never reaches the next one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[int, Action] | bytes] = deque()
        self._lines: deque[bytes] = deque()
        self._known: OctetCache[Attributes, msgspec.Raw] = OctetCache(CACHE_OCTETS)
        self.routes = 0
        self.problems: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines or self._waiting)

    def put(self, session: int, action: Action) -> bool:
        """Append; False, and nothing done, if the queue is full."""
        size = _size(action)
        if self.routes + size > self._limit and self.routes:
            return False
        self.routes += size
        self._waiting.append((session, action))
        return True

    def put_line(self, command: wire.Command) -> None:
        """Append a ready command."""
        self._waiting.append(_encode(command) + b"\n")

    def drop(self, address: str) -> int:
        """Drop what waits for a peer, except the end of its session; return how many routes."""
        before = self.routes
        kept = [e for e in self._waiting if not _is_for(e, address) or _ends(e)]
        self._waiting = deque(kept)
        self.routes = sum(_size(e[1]) for e in kept if not isinstance(e, bytes))
        return before - self.routes

    def take(self, size: int) -> bytes:
        """Return the next lines, about ``size`` octets of them.

        An action that cannot be encoded is dropped, and named in ``problems``.
        """
        taken, total = [], 0
        while total < size and (self._lines or self._waiting):
            if not self._lines:
                self._word_next()
                continue
            line = self._lines.popleft()
            taken.append(line)
            total += len(line)
        return b"".join(taken)

    def _word_next(self) -> None:
        entry = self._waiting.popleft()
        if isinstance(entry, bytes):
            self._lines.append(entry)
            return
        session, action = entry
        self.routes -= _size(action)
        try:
            self._lines.extend(self._worded(session, action))
        except (ValueError, OverflowError) as error:
            self.problems.append(f"{type(action).__name__} to {action.peer}: {error}")

    def _worded(self, session: int, action: Action) -> list[bytes]:
        return [_encode(command) + b"\n" for command in self._commands(session, action)]

    def _commands(self, session: int, action: Action) -> Iterator[wire.Command]:
        peer = str(action.peer.address)
        match action:
            case Announce():
                yield from self._announce(peer, session, action)
            case Withdraw():
                family = family_numbers(action.family)
                for part in _parts(action.nlri):
                    packed = pack_nlri(action.family, part, withdraw=True)
                    yield wire.SendWithdraw(peer, session, family, packed)
            case SendEndOfRib():
                yield wire.SendMarker(peer, session, family_numbers(action.family))
            case RequestRefresh():
                yield wire.SendRefresh(peer, session, family_numbers(action.family))
            case ResetSession():
                yield wire.Teardown(peer, session, action.subcode)

    def _announce(self, peer: str, session: int, action: Announce) -> Iterator[wire.SendRoutes]:
        hop = packed_next_hop(action.family, action.next_hop)
        attributes = self._attributes(action.attributes)
        family = family_numbers(action.family)
        for part in _parts(action.nlri):
            packed = pack_nlri(action.family, part)
            yield wire.SendRoutes(peer, session, family, hop, attributes, packed)

    def _attributes(self, attributes: Attributes) -> msgspec.Raw:
        known = self._known.get(attributes)
        if known is None:
            text = _encode(to_wire(attributes))
            known = self._known.put(attributes, msgspec.Raw(text), len(text))
        return known


def packed_next_hop(family: Family, address: IPAddress) -> bytes:
    """Return a next hop in the octets of the family: ::ffff:a.b.c.d in IPv6 (RFC 4659).

    ValueError for an IPv6 next hop of IPv4 unicast, where RFC 8950 is not spoken.
    """
    if family.afi is Afi.IPV6 and address.version == 4:
        return _MAPPED + address.packed
    if family is Family.IPV4_UNICAST and address.version == 6:
        raise ValueError(f"{address} cannot be the next hop of {family.value}")
    return address.packed


def _is_for(entry: tuple[int, Action] | bytes, address: str) -> bool:
    return not isinstance(entry, bytes) and str(entry[1].peer.address) == address


def _ends(entry: tuple[int, Action] | bytes) -> bool:
    return not isinstance(entry, bytes) and isinstance(entry[1], ResetSession)


def _size(action: Action) -> int:
    return len(action.nlri) if isinstance(action, Announce | Withdraw) else 1


def _parts(routes: list[Nlri]) -> Iterator[list[Nlri]]:
    for start in range(0, len(routes), ROUTES_PER_LINE):
        yield routes[start : start + ROUTES_PER_LINE]
