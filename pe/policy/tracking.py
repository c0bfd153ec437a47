"""Established flows of a zone, and their end, over ctnetlink. Its methods may be called from a
thread, one at a time.

A flow that ends keeps its connection, without the permission: else the next segment, of either end,
would begin a connection in its own direction, and be judged as that (``pe.policy.older``).
"""

from __future__ import annotations

import errno
import struct
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from controlplane.model.flow import LiveFlow
from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import ICMP, ICMP6, PORT_PROTOCOLS
from controlplane.model.verdict import OLDER_BIT
from pe.model.mark_code import CODE_MASK, TURNED, MarkCode
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER

_GET, _CHANGE = 1 << 8 | 1, 1 << 8
_TUPLE, _STATUS, _TIMEOUT, _MARK, _ZONE, _MARK_MASK = 1, 3, 7, 8, 18, 21
_COUNTS_THERE, _COUNTS_BACK = 9, 10
_SEEN_REPLY, _ASSURED, _CONFIRMED, _FIXED_TIMEOUT = 1 << 1, 1 << 2, 1 << 3, 1 << 10
_REMEMBERED = _SEEN_REPLY | _ASSURED | _CONFIRMED | _FIXED_TIMEOUT
"""Status of a connection that neither an RST nor a full table ends early (IPS_*). The first two may
be set at any time, and never taken back."""
_IP, _PROTOCOL = 1, 2
_SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6 = 1, 2, 3, 4
_NUMBER, _SPORT, _DPORT = 1, 2, 3
_ICMP_FIELDS = {ICMP: (4, 5, 6), ICMP6: (7, 8, 9)}
"""Attributes of identifier, type and code."""
_GRE = 47
_PORTED = PORT_PROTOCOLS | {_GRE}
_INET, _INET6 = 2, 10
_FILTER, _ORIGINAL_FLAGS = 25, 1
_FROM, _TO = 1, 2
"""What a filter goes by: CTA_FILTER_F_CTA_IP_SRC and _DST."""
BATCH = 512
"""Messages in one send: their answers fit the socket's buffer."""
REMEMBERED_SECONDS = 600
"""So long a flow that was ended is remembered, and counts as a connection: longer than an address
translator remembers UDP (RFC 4787 section 4.3). A TCP segment that comes later opens nothing."""

Connection: TypeAlias = tuple[int, int, bytes]
"""Zone, address family, and the tuple by which it was opened."""

_KEPT = nl.attribute(_TIMEOUT, REMEMBERED_SECONDS.to_bytes(4, "big")) + nl.attribute(
    _STATUS, _REMEMBERED.to_bytes(4, "big")
)


class Tracking:
    """One ctnetlink socket."""

    def __init__(self, code: MarkCode) -> None:
        self._code = code
        self._common = _marked(*code.common)
        self._forbidden = _marked(code.denied & TURNED, TURNED)
        self._socket = nl.NetlinkSocket(NETLINK_NETFILTER)
        self._turn = threading.Lock()

    def live(self, vrf: str, zone: int, ends: Collection[IPAddress] = ()) -> list[LiveFlow]:
        """The flows of a zone that a verdict allowed, as they were opened, and those that the
        kernel has refused since and that were not ended yet; with ``ends``, those from or to one.
        """
        if not ends:
            with self._turn:
                return [flow for _, flow in self._dump(vrf, zone)]
        found: dict[bytes, LiveFlow] = {}
        for end in ends:
            for side in (_FROM, _TO):
                with self._turn:
                    flows = self._dump(vrf, zone, *_filter(end, side))
                    found |= {
                        bytes(key): flow
                        for key, flow in flows
                        if end in (flow.source, flow.destination)
                    }
        return list(found.values())

    def _dump(
        self, vrf: str, zone: int, family: int = 0, more: bytes = b""
    ) -> Iterator[tuple[memoryview, LiveFlow]]:
        # Newer kernels leave other zones out by themselves; all leave out other marks.
        asked = more + nl.attribute(_ZONE, zone.to_bytes(2, "big"))
        asked += self._common
        for message in self._socket.dump(_GET, bytes((family, 0, 0, 0)) + asked):
            entry = nl.attributes(message.body[4:])
            if _big(entry.get(_ZONE)) == zone and self._is_live(entry):
                yield entry[_TUPLE], _live(vrf, entry)

    def end(self, flows: Sequence[tuple[int, LiveFlow]]) -> int:
        """End flows (zone, flow): both ends' packets are judged again, as the flow was opened.
        How many were there to end. Raises OSError."""
        with self._turn:
            known = list(self._with_tuples(flows))
            parts = (known[at : at + BATCH] for at in range(0, len(known), BATCH))
            return sum(self._end(part) for part in parts)

    def _with_tuples(self, flows: Iterable[tuple[int, LiveFlow]]) -> Iterator[Connection]:
        """Zone, address family and tuple. Of an ICMP flow the kernel must be asked: its identifier
        and code are no part of a flow."""
        asked: dict[tuple[str, int], set[LiveFlow]] = {}
        for zone, flow in flows:
            if flow.protocol in _ICMP_FIELDS:
                asked.setdefault((flow.vrf, zone), set()).add(_bare(flow))
            else:
                yield zone, _family(flow), _tuple(flow)
        for (vrf, zone), wanted in asked.items():
            for found, flow in self._dump(vrf, zone):
                if _bare(flow) in wanted:
                    yield zone, _family(flow), bytes(found)

    def _end(self, part: Sequence[Connection]) -> int:
        refusals = self._change(part, self._forbidden)
        for error in refusals:
            if error is not None and error.errno != errno.ENOENT:
                raise error
        # One that was ended before is remembered already, and its timeout is fixed (EPERM).
        self._change(part, _KEPT)
        return refusals.count(None)

    def _change(self, part: Sequence[Connection], change: bytes) -> list[OSError | None]:
        """What the kernel says to the change of each of these connections."""
        first = self._socket.take_seqs(len(part))
        messages, flags = bytearray(), nl.NLM_F_REQUEST | nl.NLM_F_ACK
        for seq, (zone, family, found) in enumerate(part, first):
            body = bytes((family, 0, 0, 0)) + nl.attribute(_TUPLE | nl.NLA_F_NESTED, found)
            body += nl.attribute(_ZONE, zone.to_bytes(2, "big")) + change
            messages += nl.HEADER.pack(16 + len(body), _CHANGE, flags, seq, 0) + body
        self._socket.send(messages)
        return [nl.refusal(answer) for answer in self._socket.receive()]

    def _is_live(self, entry: dict[int, memoryview]) -> bool:
        """Return whether a connection may pass, or was refused by the kernel and not ended yet."""
        code, status = _big(entry.get(_MARK)) & CODE_MASK, _big(entry.get(_STATUS))
        is_ended = bool(status & _FIXED_TIMEOUT)
        return code == self._code.allowed or (code == self._code.denied and not is_ended)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _filter(end: IPAddress, side: int) -> tuple[int, bytes]:
    """Address family and attributes of a dump of the flows whose first packet had an address as
    source or destination (ctnetlink_parse_filter; a kernel that does not know it dumps all)."""
    kinds = (_SOURCE4, _DESTINATION4) if end.version == 4 else (_SOURCE6, _DESTINATION6)
    wanted = nl.attribute(kinds[side == _TO], end.packed)
    chosen = nl.attribute(_ORIGINAL_FLAGS, side.to_bytes(4, sys.byteorder))
    attributes = nl.nested(_TUPLE, nl.nested(_IP, wanted)) + nl.nested(_FILTER, chosen)
    return (_INET if end.version == 4 else _INET6), attributes


def _marked(value: int, mask: int) -> bytes:
    """Attributes of a mark: the bits of a mask. Of a dump those that are asked for, of a change
    those that are replaced (ctnetlink_change_mark)."""
    bits = nl.attribute(_MARK, value.to_bytes(4, "big"))
    return bits + nl.attribute(_MARK_MASK, mask.to_bytes(4, "big"))


def _big(value: memoryview | None) -> int:
    return int.from_bytes(value, "big") if value is not None else 0


def _family(flow: LiveFlow) -> int:
    return _INET if flow.source.version == 4 else _INET6


def _bare(flow: LiveFlow) -> LiveFlow:
    """The flow without what changes, to be compared."""
    return LiveFlow(
        flow.vrf, flow.source, flow.destination, flow.protocol, 0, 0, flow.icmp_type, 0, 0
    )


def _tuple(flow: LiveFlow) -> bytes:
    kinds = (_SOURCE4, _DESTINATION4) if flow.source.version == 4 else (_SOURCE6, _DESTINATION6)
    ends = (flow.source, flow.destination)
    addresses = (nl.attribute(k, end.packed) for k, end in zip(kinds, ends, strict=True))
    protocol = [nl.attribute(_NUMBER, bytes((flow.protocol,)))]
    if flow.protocol in _PORTED:
        protocol.append(nl.attribute(_SPORT, struct.pack(">H", flow.sport)))
        protocol.append(nl.attribute(_DPORT, struct.pack(">H", flow.dport)))
    return nl.nested(_IP, *addresses) + nl.nested(_PROTOCOL, *protocol)


def _live(vrf: str, entry: dict[int, memoryview]) -> LiveFlow:
    found = nl.attributes(entry[_TUPLE])
    ip, protocol = nl.attributes(found[_IP]), nl.attributes(found[_PROTOCOL])
    number = protocol[_NUMBER][0]
    packets, size = _counts(entry)
    kind = protocol[_ICMP_FIELDS[number][1]][0] if number in _ICMP_FIELDS else -1
    return LiveFlow(
        vrf,
        _address(ip, _SOURCE4, _SOURCE6),
        _address(ip, _DESTINATION4, _DESTINATION6),
        number,
        _big(protocol.get(_SPORT)),
        _big(protocol.get(_DPORT)),
        kind,
        packets,
        size,
        bool(_big(entry[_MARK]) & OLDER_BIT),
    )


def _address(found: dict[int, memoryview], four: int, six: int) -> IPAddress:
    if four in found:
        return IPv4Address(bytes(found[four]))
    return IPv6Address(bytes(found[six]))


def _counts(entry: dict[int, memoryview]) -> tuple[int, int]:
    """Packets and bytes, both ways; zero while the kernel does not account."""
    both = [nl.attributes(entry[kind]) for kind in (_COUNTS_THERE, _COUNTS_BACK) if kind in entry]
    return sum(_big(one.get(1)) for one in both), sum(_big(one.get(2)) for one in both)
