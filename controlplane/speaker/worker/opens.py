"""OPEN messages on their way in: capabilities that are not needed cannot end a session.

ExaBGP parses every capability that it knows and ends the session where one is malformed. A session
needs four of them. The others are passed over unread, and of the four a malformed one is ignored
like one that is not there (RFC 5492 section 3), with a report; except the four-octet AS number,
without which both ends would read AS paths differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import (
    ASN,
    Capabilities,
    Capability,
    HoldTime,
    Notify,
    Open,
    RouterID,
    Version,
)

CODE = Capability.CODE
NEEDED = (
    CODE.MULTIPROTOCOL, CODE.ROUTE_REFRESH, CODE.GRACEFUL_RESTART, CODE.FOUR_BYTES_ASN,
    CODE.NEXTHOP,
)  # fmt: skip
MULTIPROTOCOL_SIZE = 4
LEAST_SIZE, BGP_VERSION = 10, 4
EXTENDED = 255
CAPABILITIES = 2
UNSUPPORTED_VERSION, UNSUPPORTED_PARAMETER = 1, 4
OPEN_ERROR, HEADER_LEN = 2, 19


class Opens:
    """Decode OPENs; ``report`` receives what is ignored."""

    def __init__(self, report: Callable[[wire.CapabilityIgnored], None]) -> None:
        self._report = report

    def decode(self, data: bytes, direction: Any, negotiated: Any) -> Any:
        """Return the OPEN of this body; stands in for ``Open.unpack_message``.

        Notify where it cannot be read (RFC 4271 section 6.2).
        """
        del direction
        if len(data) < LEAST_SIZE:
            raise Notify(1, 2, (HEADER_LEN + len(data)).to_bytes(2))
        if data[0] != BGP_VERSION:
            raise Notify(OPEN_ERROR, UNSUPPORTED_VERSION, BGP_VERSION.to_bytes(2))
        capabilities = Capabilities()
        for code, value in capability_values(data[9:]):
            if code in NEEDED:
                self._add(capabilities, code, value, negotiated)
        asn, hold_time = int.from_bytes(data[1:3]), int.from_bytes(data[3:5])
        router_id = RouterID(".".join(map(str, data[5:9])))
        return Open(Version(data[0]), ASN(asn), HoldTime(hold_time), router_id, capabilities)

    def _add(self, capabilities: Any, code: int, value: bytes, negotiated: Any) -> None:
        if code == CODE.GRACEFUL_RESTART:
            # The last one counts alone (RFC 4724 section 3).
            capabilities.pop(code, None)
        try:
            if code == CODE.MULTIPROTOCOL and len(value) != MULTIPROTOCOL_SIZE:
                raise Notify(OPEN_ERROR, 0, f"{len(value)} octets")
            capabilities[code] = Capability.unpack(CODE(code), capabilities, value)
        except Notify as fault:
            if code == CODE.FOUR_BYTES_ASN:
                raise
            peer = str(negotiated.neighbor["peer-address"])
            reason = bytes(fault.data).decode(errors="replace")
            self._report(wire.CapabilityIgnored(peer, int(code), reason))


def capability_values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and value of each capability in the optional parameters, their length first.

    Notify where a parameter is not one of capabilities, or one runs past the end.
    """
    size, start, width = data[0], 1, 1
    if data[1:2] == bytes((EXTENDED,)) and size:
        # RFC 9072: the length and those of the parameters have two octets.
        size, start, width = int.from_bytes(data[2:4]), 4, 2
    if len(data) < start + size:
        raise Notify(OPEN_ERROR, 0, "the optional parameters are cut short")
    for kind, value in _fields(data[start : start + size], width):
        if kind != CAPABILITIES:
            raise Notify(OPEN_ERROR, UNSUPPORTED_PARAMETER, f"optional parameter {kind}")
        yield from _fields(value, 1)


def _fields(data: bytes, width: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of fields whose length has ``width`` octets."""
    position = 0
    while position < len(data):
        head = position + 1 + width
        after = head + int.from_bytes(data[position + 1 : head])
        if after > len(data) or head > len(data):
            raise Notify(OPEN_ERROR, 0, "an optional parameter is cut short")
        yield data[position], data[head:after]
        position = after


def install(report: Callable[[wire.CapabilityIgnored], None]) -> None:
    """Put this in the place of ExaBGP's."""
    surface.replace(Open, "unpack_message", staticmethod(Opens(report).decode))
