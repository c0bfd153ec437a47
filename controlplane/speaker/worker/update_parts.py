"""An UPDATE taken apart: where its routes and its attributes are, and what is wrong with that."""

from __future__ import annotations

from controlplane.speaker.worker.packed_nlri import PackedNlri
from controlplane.speaker.worker.surface import Notify

MP_REACH, MP_UNREACH = 14, 15
NAMES = {MP_REACH: "MP_REACH_NLRI", MP_UNREACH: "MP_UNREACH_NLRI"}
MP_FLAGS = 0x80


class UpdateParts:
    """Native routes, MP attributes, and all other attributes of an UPDATE.

    ``fault`` is a reason to withdraw what it announces; ``discarded`` says what was left out;
    ``stacks`` are routes with several labels, withdrawn alone; ``cut`` where an attribute runs
    past the end.
    """

    __slots__ = (
        "announced", "cut", "discarded", "fault", "reach", "rest", "stacks", "unreach", "withdrawn",
    )  # fmt: skip

    def __init__(self, withdrawn: bytes, announced: bytes) -> None:
        self.withdrawn, self.announced, self.rest = withdrawn, announced, b""
        self.reach: bytes | None = None
        self.unreach: bytes | None = None
        self.cut = False
        self.fault = ""
        self.discarded: list[str] = []
        self.stacks: list[PackedNlri] = []

    @property
    def marker(self) -> bytes:
        """Return the family's three octets if this is an End-of-RIB, else nothing."""
        if self.withdrawn or self.announced or self.rest or self.fault or self.reach is not None:
            return b""
        if self.unreach is None:
            return b"\0\1\1"
        return self.unreach if len(self.unreach) == 3 else b""

    @property
    def locates_routes(self) -> bool:
        """Return True unless a fault may have hidden routes (RFC 7606 section 5.2)."""
        return bool(self.announced) or self.reach is not None or not (self.rest or self.cut)


def separate(data: bytes) -> UpdateParts:
    """Split an UPDATE's body; raise Notify if its fields or MP attributes cannot be separated."""
    size = len(data)
    attributes = 2 + int.from_bytes(data[:2])
    start = attributes + 2
    end = start + int.from_bytes(data[attributes:start])
    if size < start or end > size:
        raise Notify(3, 1, "the lengths of the fields exceed the message")
    parts = UpdateParts(data[2:attributes], data[end:])
    # One slice for a row of attributes, not one each: with a route per UPDATE this is the loop that
    # costs most.
    rest, position, row = b"", start, start
    while position < end:
        flags, code = data[position], data[position + 1] if position + 1 < end else 0
        head = position + (4 if flags & 0x10 else 3)
        after = head + int.from_bytes(data[position + 2 : head])
        if head > end or after > end:
            _overrun(parts, code)
            break
        if code in NAMES:
            rest += data[row:position]
            row = after
            _store(parts, flags, code, data[head:after])
        position = after
    parts.rest = rest + data[row:position]
    return parts


def _overrun(parts: UpdateParts, code: int) -> None:
    """Handle an attribute that ends behind the attributes (RFC 7606 section 4); with the routes
    in it, Notify 3/9 (section 3 j)."""
    if code in NAMES:
        raise Notify(3, 9, "the routes run past the attributes")
    parts.cut = True
    parts.fault = f"attribute {code} runs past the attributes (RFC 7606 section 4)"


def _store(parts: UpdateParts, flags: int, code: int, value: bytes) -> None:
    """Keep an MP attribute; Notify if it came twice (RFC 7606 section 3 g).

    Wrong flags are a fault of the attribute (section 3 c), but its routes are where they are.
    """
    name = "reach" if code == MP_REACH else "unreach"
    if getattr(parts, name) is not None:
        raise Notify(3, 1, f"attribute {code} came twice")
    setattr(parts, name, value)
    if flags & 0xC0 != MP_FLAGS:
        parts.fault = f"flags 0x{flags:02x} of {NAMES[code]} (RFC 7606 section 3 c)"
