"""UPDATE messages on their way in: routes kept packed, attributes parsed once and reused.

Errors are handled as RFC 7606 has it. The session is reset only where routes cannot be located;
else they are withdrawn where an attribute that decides about them is malformed, and an attribute
that decides nothing is left out. Each malformed message is reported to the node, whole (section 6).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Any

import msgspec

from controlplane.speaker import wire
from controlplane.speaker.octet_cache import OctetCache
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.attribute_validation import (
    ValidatedAttributes,
    external,
    missing,
    validate_attributes,
)
from controlplane.speaker.worker.codes import Code
from controlplane.speaker.worker.packed_nlri import VPN_SAFI, PackedNlri, check, without_stacks
from controlplane.speaker.worker.received import read
from controlplane.speaker.worker.surface import (
    EOR,
    Action,
    Notify,
    Update,
)
from controlplane.speaker.worker.update_parts import UpdateParts, separate

HEADER = b"\xff" * 16
HEADER_LEN, UPDATE = 19, 2
_encode = msgspec.json.Encoder().encode
NATIVE = (1, 1)
ANNOUNCE, WITHDRAWN = Action.ANNOUNCE, Action.WITHDRAW

STACKS = "more than one label (RFC 8277 section 2.1)"
NONZERO_RD = "the next hop's route distinguisher is not zero (RFC 4364 section 4.3.2)"
RESET, WITHDRAW, DISCARD = "session reset", "treat-as-withdraw", "attribute discard"

report: Callable[[wire.Malformed], None] = lambda _: None  # noqa: E731 - replaced by ``install``


def decode(data: bytes, direction: Any, negotiated: Any) -> Any:
    """Turn an UPDATE's body into an Update or EOR; stands in for ``Update.unpack_message``.

    Notify where the session has to end.
    """
    try:
        return _decoded(data, direction, negotiated)
    except Notify as end:
        _report(data, negotiated, RESET, str(end))
        raise


def _decoded(data: bytes, direction: Any, negotiated: Any) -> Any:
    """Return the message, what it announces turned into withdrawals if it is malformed."""
    parts = separate(data)
    if parts.reach is None and parts.marker:
        return _end_of_rib(parts.marker, direction, negotiated)
    parsed = parse(parts.rest, negotiated)
    update = Update(_routes(parts, parsed.attributes.next_hop, negotiated), parsed.attributes)
    fault = parts.fault or parsed.fault
    if fault and not parts.locates_routes:
        # RFC 7606 section 5.2: the routes may be in what could not be read.
        raise Notify(3, 1, f"no routes, and {fault}")
    if not fault and ANNOUNCE in [nlri.action for nlri in update.nlris]:
        fault = parsed.lacking_native if parts.announced else parsed.lacking
    if fault and update.nlris:
        for nlri in update.nlris:
            nlri.action = Action.WITHDRAW
        _report(data, negotiated, WITHDRAW, fault, update.nlris)
    elif parts.stacks:
        _report(data, negotiated, WITHDRAW, STACKS, parts.stacks)
    elif discarded := [*parts.discarded, *parsed.validated.discarded, *filter(None, [fault])]:
        _report(data, negotiated, DISCARD, ", ".join(discarded), update.nlris)
    return update


def _end_of_rib(family: bytes, direction: Any, negotiated: Any) -> Any:
    """Return the End-of-RIB; an UPDATE without content for a family that was not negotiated."""
    if (int.from_bytes(family[:2]), family[2]) not in negotiated.families:
        return Update([], Received())
    return EOR.unpack_message(EOR.NLRI.PREFIX + family, direction, negotiated)


def _routes(parts: UpdateParts, next_hop: str, negotiated: Any) -> list[PackedNlri]:
    """Return the routes, withdrawals first; Notify 3/9 or 3/10 if they cannot be located."""
    found: list[PackedNlri] = []
    if parts.withdrawn and _is_native(parts, negotiated):
        check(*NATIVE, parts.withdrawn)
        found.append(PackedNlri(*NATIVE, WITHDRAWN, parts.withdrawn, ""))
    if parts.unreach is not None:
        _unreachable(parts, parts.unreach, negotiated, found)
    if parts.reach is not None:
        _reachable(parts, parts.reach, negotiated, found)
    if parts.announced and _is_native(parts, negotiated):
        check(*NATIVE, parts.announced)
        found.append(PackedNlri(*NATIVE, ANNOUNCE, parts.announced, next_hop))
    return found


def _is_native(parts: UpdateParts, negotiated: Any) -> bool:
    """Return True if IPv4 unicast was negotiated; what is of it is ignored where it was not."""
    if NATIVE in negotiated.families:
        return True
    parts.discarded.append("routes of ipv4 unicast, which was not negotiated (RFC 4760 section 7)")
    return False


def _is_negotiated(parts: UpdateParts, name: str, family: tuple[int, int], negotiated: Any) -> bool:
    """Return True if a family was negotiated; an attribute of another one is ignored."""
    if family in negotiated.families:
        return True
    which = f"{name} of family {family[0]}/{family[1]}"
    parts.discarded.append(f"{which}, which was not negotiated (RFC 4760 section 7)")
    return False


def _reachable(parts: UpdateParts, data: bytes, negotiated: Any, found: list[PackedNlri]) -> None:
    """Add what MP_REACH_NLRI announces (RFC 4760 section 3)."""
    if len(data) < 5:
        raise Notify(3, 9, "MP_REACH_NLRI is too short")
    family, size = (data[0] << 8 | data[1], data[2]), data[3]
    if not _is_negotiated(parts, "MP_REACH_NLRI", family, negotiated):
        return
    if len(data) < 5 + size:
        raise Notify(3, 9, "the next hop runs past MP_REACH_NLRI")
    hop, fault = _next_hop(data[4 : 4 + size], 8 if family[1] == VPN_SAFI else 0)
    parts.fault = fault or parts.fault
    nlri = data[5 + size :]
    if nlri:
        _sort(parts, family, ANNOUNCE, nlri, hop, found)
    else:
        parts.discarded.append("MP_REACH_NLRI without routes")


def _unreachable(parts: UpdateParts, data: bytes, negotiated: Any, found: list[PackedNlri]) -> None:
    """Add what MP_UNREACH_NLRI withdraws (RFC 4760 section 4)."""
    if len(data) < 3:
        raise Notify(3, 9, "MP_UNREACH_NLRI is too short")
    family, nlri = (data[0] << 8 | data[1], data[2]), data[3:]
    if nlri and _is_negotiated(parts, "MP_UNREACH_NLRI", family, negotiated):
        _sort(parts, family, WITHDRAWN, nlri, "", found)


def _sort(
    parts: UpdateParts, family: tuple[int, int], action: int, nlri: bytes, hop: str,
    found: list[PackedNlri],
) -> None:  # fmt: skip
    """Add NLRI with one label as they are, and those with several as withdrawn.

    Several labels take a capability that is not offered (RFC 8277 section 2.1). Through a route
    reflector they share an UPDATE with good routes, which are not to suffer for them.
    """
    stacks = check(*family, nlri)
    if stacks:
        nlri, several = without_stacks(nlri, stacks)
        parts.stacks.append(PackedNlri(*family, WITHDRAWN, several, ""))
        found.append(parts.stacks[-1])
    if nlri:
        found.append(PackedNlri(*family, action, nlri, hop))


@lru_cache(maxsize=256)
def _next_hop(data: bytes, rd: int) -> tuple[str, str]:
    """Return the global next hop, or the link-local one behind it where there is none (RFC 2545
    section 3): some peers fill the global one's place with zeros; and its fault. ``rd`` octets are
    before each address.

    Notify for a length that no next hop has: the routes are behind it (RFC 7606 section 7.11).
    """
    if len(data) not in (rd + 4, rd + 16, 2 * (rd + 16)):
        raise Notify(3, 9, f"next hop of {len(data)} octets")
    fault = NONZERO_RD if any(data[:rd]) else ""
    address = data[rd : rd + 16]
    if len(data) == 2 * (rd + 16) and not any(address):
        address = data[rd + 16 + rd :]
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address), fault


class Received(dict[int, object]):
    """Stands where ExaBGP has its attributes, in which its loop looks for marks of its own."""

    def __init__(self, text: str = "{}", next_hop: str = "") -> None:
        super().__init__()
        self.text, self.next_hop = text, next_hop


@dataclass(frozen=True, slots=True)
class Parsed:
    """The attributes as the node reads them; ``fault`` is why routes with them are withdrawn,
    ``lacking`` why an announcement with them is, ``lacking_native`` one outside MP_REACH_NLRI."""

    attributes: Received
    validated: ValidatedAttributes
    fault: str
    lacking: str = ""
    lacking_native: str = ""


def parse(rest: bytes, negotiated: Any) -> Parsed:
    """Return the attributes of these octets and their fault, from this session's cache.

    The cache is the session's: what the octets mean depends on what it negotiated (RFC 6793).
    """
    cache: OctetCache[bytes, Parsed] | None = negotiated.__dict__.get("bulkhead_attributes")
    if cache is None:
        cache = negotiated.bulkhead_attributes = OctetCache()
    known = cache.get(rest)
    return known or cache.put(rest, _parsed(rest, negotiated), len(rest))


def _parsed(rest: bytes, negotiated: Any) -> Parsed:
    validated = validate_attributes(rest, negotiated)
    values = validated.values
    try:
        found = read(
            values, four_octets=negotiated.asn4, external=external(negotiated),
            unknown=validated.unknown,
        )  # fmt: skip
    except ValueError as error:
        return Parsed(Received(), validated, validated.fault or str(error))
    hop = values.get(Code.NEXT_HOP)
    received = Received(_encode(found).decode(), socket.inet_ntoa(hop) if hop else "")
    lacking = [missing(validated, negotiated, native=native) for native in (False, True)]
    return Parsed(received, validated, validated.fault, *lacking)


def _report(
    data: bytes, negotiated: Any, handling: str, reason: str, routes: list[PackedNlri] | None = None
) -> None:
    """Report a malformed message to the node (RFC 7606 section 6)."""
    message = HEADER + pack("!HB", HEADER_LEN + len(data), UPDATE) + data
    found = [((int(b.afi), int(b.safi)), b.data) for b in routes or ()]
    peer = str(negotiated.neighbor["peer-address"])
    report(wire.Malformed(peer, handling, reason, message, found))


def is_packed(nlri: object) -> bool:
    """Return True for packed routes, False for ExaBGP's own NLRI objects."""
    return isinstance(nlri, PackedNlri)


def install(receiver: Callable[[wire.Malformed], None]) -> None:
    """Put ``decode`` in the place of ExaBGP's; ``receiver`` is called with malformed messages."""
    global report  # noqa: PLW0603 - as with all that takes the place of ExaBGP's own
    report = receiver
    surface.replace(Update, "unpack_message", staticmethod(decode))
