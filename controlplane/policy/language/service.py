"""Services: what a packet asks for, as protocol and port or ICMP type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.model.protocols import ICMP, ICMP6, PORT_PROTOCOLS, highest_point
from controlplane.policy.language.problem import MalformedError, nearest

PROTOCOLS: Mapping[str, int] = {
    "icmp": ICMP,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmp6": ICMP6,
    "ospf": 89,
    "vrrp": 112,
    "sctp": 132,
    "udplite": 136,
}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

_ICMP_TYPES: Mapping[int, Mapping[str, int]] = {
    # RFC 792, RFC 1256
    ICMP: {
        "echo-reply": 0,
        "destination-unreachable": 3,
        "redirect": 5,
        "echo-request": 8,
        "time-exceeded": 11,
        "parameter-problem": 12,
        "timestamp-request": 13,
        "timestamp-reply": 14,
    },
    # RFC 4443
    ICMP6: {
        "destination-unreachable": 1,
        "packet-too-big": 2,
        "time-exceeded": 3,
        "parameter-problem": 4,
        "echo-request": 128,
        "echo-reply": 129,
    },
}


@dataclass(frozen=True, slots=True)
class Service:
    """A protocol (None: any) and an inclusive range of ports or ICMP types.

    A whole protocol has the range 0..highest_point(protocol); `any` has 0..0.
    """

    protocol: int | None
    low: int
    high: int

    def covers(self, protocol: int, point: int) -> bool:
        """Return whether a packet of `protocol` with that port or ICMP type asks for this
        service."""
        return self.protocol is None or (
            self.protocol == protocol and self.low <= point <= self.high
        )

    @property
    def whole(self) -> bool:
        """Whether it is all of its protocol."""
        return self.protocol is None or (self.low, self.high) == (0, highest_point(self.protocol))

    @property
    def sort_key(self) -> tuple[int, int, int]:
        """Order of the canonical form."""
        return (-1 if self.protocol is None else self.protocol, self.low, self.high)

    def __str__(self) -> str:
        if self.protocol is None:
            return "any"
        name = _PROTOCOL_NAMES.get(self.protocol, f"proto/{self.protocol}")
        return name if self.whole else f"{name}/{self._points()}"

    def _points(self) -> str:
        if self.low != self.high:
            return f"{self.low}-{self.high}"
        for name, number in _ICMP_TYPES.get(self.protocol or 0, {}).items():
            if number == self.low:
                return name
        return str(self.low)


ANY_SERVICE = Service(None, 0, 0)


def whole_protocol(protocol: int) -> Service:
    """Return every packet of one IP protocol."""
    return Service(protocol, 0, highest_point(protocol))


def is_reserved(name: str) -> bool:
    """Return whether a service of that name could be taken for a protocol or an ICMP type."""
    return name in PROTOCOLS or name == "proto" or any(name in t for t in _ICMP_TYPES.values())


def sorted_services(services: Iterable[Service]) -> tuple[Service, ...]:
    """Return services of a rule in canonical order, each once."""
    return tuple(sorted(set(services), key=lambda service: service.sort_key))


def parse_service(text: str, named: Mapping[str, tuple[Service, ...]]) -> tuple[Service, ...]:
    """Read `any`, `tcp`, `tcp/443`, `udp/1-9`, `icmp/echo-request`, `proto/47` or a declared name.

    Raises MalformedError with a cure.
    """
    if text == "any":
        return (ANY_SERVICE,)
    if text in named:
        return named[text]
    head, slash, tail = text.partition("/")
    if head == "proto" and slash:
        return (whole_protocol(_number(text, tail, "protocol", 255)),)
    if head not in PROTOCOLS:
        cure = nearest(head, [*PROTOCOLS, *named], otherwise="write tcp/443, icmp/echo-request")
        raise MalformedError(text, 0, f"unknown service or protocol {head!r}", cure)
    protocol = PROTOCOLS[head]
    return (_part(text, protocol, tail) if slash else whole_protocol(protocol),)


def _part(text: str, protocol: int, tail: str) -> Service:
    if protocol in PORT_PROTOCOLS:
        return _ports(text, protocol, tail)
    if protocol in _ICMP_TYPES:
        return _icmp(text, protocol, tail)
    raise MalformedError(
        text, text.index("/"), "this protocol has no ports", f"write {text.partition('/')[0]}"
    )


def _ports(text: str, protocol: int, tail: str) -> Service:
    first, dash, last = tail.partition("-")
    low = _number(text, first, "port", 65535)
    high = _number(text, last, "port", 65535) if dash else low
    if low > high:
        raise MalformedError(
            text, text.index("/") + 1, "the range is backwards", f"write {last}-{first}"
        )
    return Service(protocol, low, high)


def _icmp(text: str, protocol: int, tail: str) -> Service:
    types = _ICMP_TYPES[protocol]
    if tail in types:
        return Service(protocol, types[tail], types[tail])
    if tail[:1].isdecimal():
        number = _number(text, tail, "type", 255)
        return Service(protocol, number, number)
    cure = nearest(tail, types, otherwise="use a number or one of " + ", ".join(sorted(types)))
    raise MalformedError(text, text.index("/") + 1, f"unknown ICMP type {tail!r}", cure)


def _number(text: str, digits: str, what: str, limit: int) -> int:
    if _NUMBER.fullmatch(digits) and int(digits) <= limit:
        return int(digits)
    position = text.index("/") + 1
    cure = f"0 to {limit}, without leading zeros"
    raise MalformedError(text, position, f"{digits!r} is no {what}", cure)
