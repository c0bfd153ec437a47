"""Instructions of nftables' machine: as netlink takes them, and in words for people. Pure.

Registers keep nothing from one rule to the next (the kernel refuses a rule that reads what it
did not write, nft_validate_register_load), so what rules hand on is kept in the packet's mark
and priority. A lookup that finds nothing ends its rule, and the next one is tried.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from pe.netlink.codec import attribute, nested

_BE32 = struct.Struct(">I")
_VERDICT_REGISTER, _FIRST_REGISTER = 0, 8
_DATA_VALUE, _DATA_VERDICT = 1, 2
_CODES = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
META = {
    "protocol": 1,
    "priority": 2,
    "mark": 3,
    "iif": 4,
    "iifname": 6,
    "oifname": 7,
    "iiftype": 8,
    "skuid": 10,
    "nfproto": 15,
    "l4proto": 16,
    "iifkind": 26,
    "sdifname": 34,
}
CT = {"state": 0, "direction": 1, "mark": 3, "protocol": 10, "zone": 17}
CT_ENDS = {"ip saddr": 19, "ip daddr": 20, "ip6 saddr": 21, "ip6 daddr": 22, "proto-dst": 12}
"""Of a connection's tuple in one of its directions; addresses of one family each."""
DIRECTIONS = {"original": 0, "reply": 1}
LINK, NETWORK, TRANSPORT = 0, 1, 2
"""What an offset counts from."""
COMPARISONS = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5}
_INVERTED = 1
_FIB_SOURCE, _FIB_OUT, _FIB_ADDRESS_TYPE = 1, 1 << 4, 3
_ADD, _UPDATE = 0, 1


_remembered = lru_cache(16384)
"""The rules of all ports are made of the same few instructions."""


class Instructions(Protocol):
    """What a rule is compiled into."""

    def add(self, *expressions: Expression) -> None:
        """Add instructions."""
        ...


@dataclass(frozen=True, slots=True)
class Expression:
    """One instruction; ``words`` say what it does as ``nft list`` would, more or less."""

    name: str
    data: bytes
    words: str

    def compile(self, rule: Instructions) -> None:
        """Add it to a rule, of which it is a statement as well (``pe.nft.compiler``)."""
        rule.add(self)

    @property
    def wire(self) -> bytes:
        """The instruction as an element of NFTA_RULE_EXPRESSIONS."""
        return _wire(self.name, self.data)


@_remembered
def _wire(name: str, data: bytes) -> bytes:
    found = (nested(2, data),) if data else ()
    return nested(1, attribute(1, name.encode() + b"\0"), *found)


def be32(kind: int, value: int) -> bytes:
    """A number attribute in network order, as nftables has nearly all of them."""
    return attribute(kind, _BE32.pack(value & 0xFFFFFFFF))


def host32(value: int) -> bytes:
    """A number as it lies in a register: in the machine's order."""
    return value.to_bytes(4, sys.byteorder)


def _register(kind: int, number: int) -> bytes:
    return be32(kind, _FIRST_REGISTER + number)


def data(kind: int, value: bytes) -> bytes:
    """A value, as a nested attribute."""
    return nested(kind, attribute(_DATA_VALUE, value))


def verdict_data(kind: int, verdict: str, chain: str = "") -> bytes:
    """A verdict such as ``goto`` with its chain, as a nested attribute."""
    parts = [be32(1, _CODES[verdict])]
    if chain:
        parts.append(attribute(2, chain.encode() + b"\0"))
    return nested(kind, nested(_DATA_VERDICT, *parts))


@_remembered
def meta(key: str, register: int) -> Expression:
    """Load something that is known about the packet."""
    found = _register(1, register) + be32(2, META[key])
    return Expression("meta", found, f"r{register} = {key}")


def set_meta(key: str, register: int) -> Expression:
    """Store a register in the packet's mark or priority."""
    found = be32(2, META[key]) + _register(3, register)
    return Expression("meta", found, f"{key} = r{register}")


def ct(key: str, register: int) -> Expression:
    """Load something of the packet's connection; ends the rule if it has none."""
    found = _register(1, register) + be32(2, CT[key])
    return Expression("ct", found, f"r{register} = ct {key}")


@_remembered
def ct_end(direction: str, key: str, register: int) -> Expression:
    """Load a part of the tuple that the connection has in a direction (nf_conntrack_tuple); ends
    the rule if the packet has no connection, or one of the other family."""
    found = _register(1, register) + be32(2, CT_ENDS[key])
    found += attribute(3, bytes((DIRECTIONS[direction],)))
    return Expression("ct", found, f"r{register} = ct {direction} {key}")


def set_ct(key: str, register: int) -> Expression:
    """Store a register with the packet's connection."""
    found = be32(2, CT[key]) + _register(4, register)
    return Expression("ct", found, f"ct {key} = r{register}")


def network_header(what: str, offset: int, length: int, register: int) -> Expression:
    """Load bytes of the IP header."""
    return payload(NETWORK, what, offset, length, register)


def transport_header(what: str, offset: int, length: int, register: int) -> Expression:
    """Load bytes of what follows the IP headers; ends the rule where there are none."""
    return payload(TRANSPORT, what, offset, length, register)


@_remembered
def payload(base: int, what: str, offset: int, length: int, register: int) -> Expression:
    """Load bytes of a header; ends the rule where the packet is shorter."""
    found = _register(1, register) + be32(2, base) + be32(3, offset) + be32(4, length)
    return Expression("payload", found, f"r{register} = {what}")


def constant(value: int, register: int) -> Expression:
    """Load a number."""
    found = _register(1, register) + data(2, host32(value))
    return Expression("immediate", found, f"r{register} = {value:#x}")


def load(value: bytes, register: int) -> Expression:
    """Load some bytes."""
    found = _register(1, register) + data(2, value)
    return Expression("immediate", found, f"r{register} = 0x{value.hex()}")


def masked(register: int, mask: int) -> Expression:
    """Keep some bits of a register."""
    return _bitwise(register, host32(mask), f"r{register} &= {mask:#x}")


@_remembered
def masked_bytes(register: int, mask: bytes) -> Expression:
    """Keep some bits of what came from a packet."""
    return _bitwise(register, mask, f"r{register} &= 0x{mask.hex()}")


@_remembered
def with_bits(register: int, bits: int) -> Expression:
    """Set some bits of a register, as nft does: clear them, then turn them over."""
    cleared = host32(0xFFFFFFFF & ~bits)
    return _bitwise(register, cleared, f"r{register} |= {bits:#x}", host32(bits))


def replaced(register: int, kept: int, bits: int) -> Expression:
    """Keep some bits of a register, and put others in the place of the rest."""
    words = f"r{register} = r{register} & {kept:#x} | {bits:#x}"
    return _bitwise(register, host32(kept), words, host32(bits))


def _bitwise(register: int, mask: bytes, words: str, turned: bytes = b"") -> Expression:
    found = _register(1, register) + _register(2, register) + be32(3, len(mask))
    found += data(4, mask) + data(5, turned or bytes(len(mask)))
    return Expression("bitwise", found, words)


@_remembered
def equal(register: int, value: bytes) -> Expression:
    """Go on only if a register holds this."""
    return compare(register, "==", value)


@_remembered
def compare(register: int, operator: str, value: bytes) -> Expression:
    """Go on only if a register compares so with this, byte by byte from the first."""
    found = _compared(register, operator, value)
    return Expression("cmp", found, f"r{register} {operator} 0x{value.hex()}")


def not_zero(register: int) -> Expression:
    """Go on only if a register holds anything."""
    return Expression("cmp", _compared(register, "!=", bytes(4)), f"r{register} != 0")


def zero(register: int) -> Expression:
    """Go on only if a register holds nothing."""
    return Expression("cmp", _compared(register, "==", bytes(4)), f"r{register} == 0")


def _compared(register: int, operator: str, value: bytes) -> bytes:
    return _register(1, register) + be32(2, COMPARISONS[operator]) + data(3, value)


def member(set_name: str, register: int, *, set_id: int = 0, inverted: bool = False) -> Expression:
    """Go on only if the bytes from a register on are in a set, or are not. ``set_id``: the set
    has no name yet, and is made under this number by the same transaction."""
    found = attribute(1, set_name.encode() + b"\0") + _register(2, register)
    found += be32(4, set_id) if set_id else b""
    found += be32(5, _INVERTED) if inverted else b""
    return Expression("lookup", found, f"{'not ' * inverted}@{set_name}[r{register}..]")


def lookup(map_name: str, register: int, into: int) -> Expression:
    """Look the bytes from a register on up, and load what is found."""
    found = attribute(1, map_name.encode() + b"\0") + _register(2, register) + _register(3, into)
    return Expression("lookup", found, f"r{into} = @{map_name}[r{register}..]")


def lookup_verdict(map_name: str, register: int) -> Expression:
    """Look the bytes from a register on up, and do what is found."""
    found = attribute(1, map_name.encode() + b"\0") + _register(2, register)
    found += be32(3, _VERDICT_REGISTER)
    return Expression("lookup", found, f"vmap @{map_name}[r{register}..]")


def verdict(word: str, chain: str = "") -> Expression:
    """``accept``, ``drop``, ``return``, or ``jump`` and ``goto`` with a chain."""
    found = be32(1, _VERDICT_REGISTER) + verdict_data(2, word, chain)
    return Expression("immediate", found, f"{word} {chain}".strip())


def local_source(register: int, *, of_device: bool = True) -> Expression:
    """Load what kind of address the packet's source is: with ``of_device`` as the outgoing
    device's VRF sees it."""
    by = _FIB_SOURCE | (_FIB_OUT if of_device else 0)
    found = _register(1, register) + be32(2, _FIB_ADDRESS_TYPE) + be32(3, by)
    return Expression("fib", found, f"r{register} = fib saddr{' . oif' * of_device} type")


@_remembered
def header_extension(
    kind: int, offset: int, length: int, register: int, *, present: bool = False
) -> Expression:
    """Load bytes of an IPv6 extension header of a kind, or with ``present`` whether there is
    one; without ``present`` the rule ends where there is none."""
    found = _register(1, register) + attribute(2, bytes((kind,))) + be32(3, offset)
    found += be32(4, length) + be32(5, int(present)) + be32(6, 0)
    return Expression("exthdr", found, f"r{register} = extension {kind} @{offset},{length}")


def update(set_name: str, register: int) -> Expression:
    """Add the bytes from a register on to a set, or let them stay there longer; ends the rule if
    the set is full."""
    found = attribute(1, set_name.encode() + b"\0") + be32(3, _UPDATE) + _register(4, register)
    return Expression("dynset", found, f"update @{set_name}[r{register}..]")


def connections_over(count: int, set_name: str, register: int) -> Expression:
    """Go on only for packets of connections that are more than so many. They are counted in an
    element of the set, whose key is in a register; ends the rule if the set is full."""
    limit_ = be32(1, count) + be32(2, _INVERTED)
    counting = nested(7, attribute(1, b"connlimit\0"), nested(2, limit_))
    found = attribute(1, set_name.encode() + b"\0") + be32(3, _ADD) + _register(4, register)
    words = f"add @{set_name}[r{register}..] ct count over {count}"
    return Expression("dynset", found + counting, words)


def untracked() -> Expression:
    """Have connection tracking not follow the packet."""
    return Expression("notrack", b"", "notrack")


def limit(rate: int, burst: int) -> Expression:
    """Go on only for so many packets a second."""
    return _limit(rate, burst, 0, f"limit rate {rate}/second burst {burst}")


def limit_over(rate: int, burst: int) -> Expression:
    """Go on only for packets that are more than so many a second."""
    return _limit(rate, burst, _INVERTED, f"limit rate over {rate}/second burst {burst}")


def _limit(rate: int, burst: int, flags: int, words: str) -> Expression:
    found = attribute(1, rate.to_bytes(8, "big")) + attribute(2, (1).to_bytes(8, "big"))
    found += be32(3, burst) + be32(4, 0) + be32(5, flags)
    return Expression("limit", found, words)


def counter(name: str) -> Expression:
    """Count under a name."""
    found = be32(1, 1) + attribute(2, name.encode() + b"\0")
    return Expression("objref", found, f"counter {name}")


def log(group: int, prefix: str, snap: int, batch: int) -> Expression:
    """Report to an nflog group: ``snap`` bytes of each packet, ``batch`` packets in one go."""
    found = attribute(1, group.to_bytes(2, "big")) + attribute(2, prefix.encode() + b"\0")
    found += be32(3, snap) + attribute(4, batch.to_bytes(2, "big"))
    words = f'log group {group} prefix "{prefix}" snaplen {snap} queue-threshold {batch}'
    return Expression("log", found, words)
