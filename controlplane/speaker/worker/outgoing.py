"""UPDATE messages on their way out: a first-in-first-out queue of packed routes.

The node is the RIB. ExaBGP's own would keep every route a second time, send VPN routes one to an
UPDATE, reorder announcements and withdrawals by their attributes, and carry what was announced to
a dead session over into the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from struct import pack
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.packed_nlri import VPN_SAFI, as_withdrawn, pieces
from controlplane.speaker.worker.surface import AFI, EOR, SAFI, Message

NATIVE = (1, 1)
MARKER = b"\xff" * 16
ITEM_OCTETS = 200
MOST_OCTETS = 64 << 20
SEND_HOLD_SECONDS = 480.0
"""RFC 9687 section 4: eight minutes."""

report: Callable[[wire.TooLarge], None] = lambda _: None  # noqa: E731 - replaced by ``install``


class Announcement:
    """Routes to announce in a session; ``next_hop`` is packed, without a route distinguisher."""

    __slots__ = ("attributes", "family", "next_hop", "nlri", "session")

    def __init__(
        self, family: tuple[int, int], next_hop: bytes, attributes: Any, nlri: bytes, session: int
    ) -> None:
        self.family, self.next_hop, self.attributes, self.nlri = family, next_hop, attributes, nlri
        self.session = session

    def messages(self, negotiated: Any, include_withdraw: bool = True) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the UPDATEs, each as large as the session allows.

        A route that fits none is withdrawn: what the peer has of it is out of date, and no error
        would report it (RFC 4271 section 9.2).
        """
        if self.family not in negotiated.families:
            return
        common = self.attributes.pack(negotiated)
        native = self.family == NATIVE
        head = b"" if native else self.head()
        room = (
            negotiated.msg_size - Message.HEADER_LEN - 4 - len(common) - len(head) - 4 * bool(head)
        )
        unfit = []
        for nlri in pieces(self.nlri, room):
            if len(nlri) > room:
                unfit.append(as_withdrawn(self.family[1], nlri))
                continue
            reach = b"" if native else attribute(14, head + nlri)
            yield update(b"", reach + common, nlri if native else b"")
        if unfit:
            peer, octets = str(negotiated.neighbor["peer-address"]), len(common) + len(head)
            gone = Withdrawal(self.family, b"".join(unfit))
            report(wire.TooLarge(peer, self.session, self.family, octets, gone.nlri))
            yield from gone.messages(negotiated)

    def head(self) -> bytes:
        """Return MP_REACH_NLRI up to its routes (RFC 4760 section 3, RFC 4364 section 4.3.2)."""
        afi, safi = self.family
        hop = bytes(8) + self.next_hop if safi == VPN_SAFI else self.next_hop
        return pack("!HBB", afi, safi, len(hop)) + hop + b"\0"


class Withdrawal:
    """Routes to withdraw."""

    __slots__ = ("family", "nlri")

    def __init__(self, family: tuple[int, int], nlri: bytes) -> None:
        self.family, self.nlri = family, nlri

    def messages(self, negotiated: Any, include_withdraw: bool = True) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the UPDATEs; no other attribute is needed (RFC 4760 section 4)."""
        if self.family not in negotiated.families:
            return
        for nlri in pieces(self.nlri, negotiated.msg_size - Message.HEADER_LEN - 11):
            if self.family == NATIVE:
                yield update(nlri, b"", b"")
            else:
                yield update(b"", attribute(15, pack("!HB", *self.family) + nlri), b"")


class Marker:
    """End-of-RIB, in its place behind the routes (RFC 4724 section 2)."""

    __slots__ = ("family",)

    def __init__(self, family: tuple[int, int]) -> None:
        self.family = family

    def messages(self, negotiated: Any, include_withdraw: bool = True) -> Iterator[bytes]:  # noqa: ARG002
        """Yield one message, if the family was negotiated."""
        if self.family in negotiated.families:
            yield EOR(AFI.create(self.family[0]), SAFI.create(self.family[1])).message()


def attribute(code: int, value: bytes) -> bytes:
    """Return an optional non-transitive attribute with an extended length."""
    return pack("!BBH", 0x90, code, len(value)) + value


def update(withdrawn: bytes, attributes: bytes, nlri: bytes) -> bytes:
    """Return a whole UPDATE message (RFC 4271 section 4.3)."""
    body = pack("!H", len(withdrawn)) + withdrawn + pack("!H", len(attributes)) + attributes + nlri
    return MARKER + pack("!HB", Message.HEADER_LEN + len(body), 2) + body


def size_of(item: Announcement | Withdrawal | Marker) -> int:
    """Return about how many octets of memory an item takes."""
    return ITEM_OCTETS + (0 if isinstance(item, Marker) else len(item.nlri))


class Queue:
    """What waits to be sent; has the methods that ExaBGP calls on its outgoing RIB."""

    def __init__(self) -> None:
        self.families: Iterable[Any] = ()
        self._waiting: deque[Announcement | Withdrawal | Marker] = deque()
        self._octets = 0
        self._moved = 0.0

    def add(self, item: Announcement | Withdrawal | Marker) -> None:
        """Append; the order of arrival is the order on the wire."""
        if not self._waiting:
            self._moved = time.monotonic()
        self._waiting.append(item)
        self._octets += size_of(item)

    def stuck(self, now: float) -> str:
        """Return why this peer is not waited for any longer; "" if it is."""
        if self._octets > MOST_OCTETS:
            return "the peer reads too slowly"
        if self._waiting and now - self._moved > SEND_HOLD_SECONDS:
            return "send hold timer expired"
        return ""

    def pending(self) -> bool:
        """Return True if something waits."""
        return bool(self._waiting)

    def updates(self, grouped: bool = True) -> Iterator[Announcement | Withdrawal | Marker]:  # noqa: ARG002
        """Hand out all that waits, oldest first."""
        while self._waiting:
            item = self._waiting.popleft()
            self._octets -= size_of(item)
            self._moved = time.monotonic()
            yield item

    def reset(self) -> None:
        """Drop all: the session is gone, and the node advertises anew to the next one."""
        self._waiting.clear()
        self._octets = 0

    clear = reset

    def cached_changes(self, *_: object) -> Iterator[object]:
        """Return nothing: no route is kept once it is sent."""
        return iter(())

    queued_changes = cached_changes

    def resend(self, *_: object) -> None:
        """Do nothing: the node answers a ROUTE-REFRESH itself."""

    replace_restart = replace_reload = withdraw = resend


class Incoming:
    """The adj-RIB-in that ExaBGP is not to keep."""

    families: Iterable[Any] = ()

    def clear(self) -> None:
        """Clear nothing."""

    def update_cache(self, change: object) -> None:
        """Keep nothing."""


class Rib:
    """Both directions of a neighbour, kept by name across a reload."""

    _known: dict[str, Rib] = {}  # noqa: RUF012

    def __init__(self, name: str, *_: object) -> None:
        known = self._known.setdefault(name, self)
        self.name = name
        self.incoming: Incoming = known.__dict__.get("incoming", Incoming())
        self.outgoing: Queue = known.__dict__.get("outgoing", Queue())

    def reset(self) -> None:
        """Drop what a session that is gone was to be sent."""
        self.outgoing.reset()

    clear = reset

    def uncache(self) -> None:
        """Drop a neighbour that is gone."""
        self._known.pop(self.name, None)


def install(receiver: Callable[[wire.TooLarge], None]) -> None:
    """Put these in the place of ExaBGP's; ``receiver`` is called with what fits no UPDATE."""
    global report  # noqa: PLW0603 - as with all that takes the place of ExaBGP's own
    report = receiver
    surface.replace(surface.neighbor_module, "RIB", Rib)
    stock = surface.Protocol.new_update

    def new_update(self: Any, include_withdraw: bool) -> Any:  # noqa: ARG001
        # ExaBGP leaves withdrawals out of the first batch; in a queue they may matter.
        return stock(self, True)

    surface.replace(surface.Protocol, "new_update", new_update)
