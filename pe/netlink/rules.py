"""Read rules (``ip rule``): those that the node's structure is made of, and those of other programs
that decide before the VRFs' tables are asked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address

from pe.model.state import Rule
from pe.netlink import codec as nl
from pe.netlink.ownership import L3MDEV_PREFERENCE, PROTOCOL
from pe.netlink.rtnl import AFIS

_RULE = struct.Struct("=BBBBBBBBI")
_DST, _SRC, _IIF, _GOTO, _PREFERENCE, _MARK, _FLOW = 1, 2, 3, 4, 6, 10, 11
_SUPPRESS_GROUP, _SUPPRESS_LENGTH, _TABLE, _MASK = 13, 14, 15, 16
_OIF, _PAD, _L3MDEV, _PROTOCOL = 17, 18, 19, 21
_TO_TABLE, _INVERT = 1, 0x2
_LOCAL, _WHOLE_MARK, _NONE = 255, 0xFFFFFFFF, 0xFFFFFFFF
_NO_SELECTORS = frozenset({
    _PREFERENCE, _MARK, _FLOW, _TABLE, _MASK, _PAD, _L3MDEV, _PROTOCOL,
})  # fmt: skip
"""Attributes that select no packets (the mark is looked at by itself). All others do, with those
that a newer kernel brings: fib_nl_fill_rule writes a selector only where it is set."""
_WORDS = {
    _GOTO: "goto", 12: "tun_id", _SUPPRESS_GROUP: "suppress_ifgroup",
    _SUPPRESS_LENGTH: "suppress_prefixlength", 20: "uidrange", 22: "ipproto", 23: "sport",
    24: "dport", 25: "dscp", 26: "flowlabel",
}  # fmt: skip


class RawRule:
    """Hold a rule message as it is, for any reader."""

    __slots__ = ("_found", "action", "destination", "family", "flags", "source", "table", "tos")

    def __init__(self, body: memoryview) -> None:
        (self.family, self.destination, self.source, self.tos, short_table,
         _, _, self.action, self.flags) = _RULE.unpack_from(body)  # fmt: skip
        self._found = nl.attributes(body[12:])
        if self._number(_SUPPRESS_LENGTH, _NONE) == _NONE:  # always there, mostly for nothing
            self._found.pop(_SUPPRESS_LENGTH, None)
        self.table = self._number(_TABLE, short_table)

    def _number(self, kind: int, absent: int = 0) -> int:
        value = self._found.get(kind)
        return nl.number(value) if value is not None else absent

    @property
    def preference(self) -> int:
        """Return its place among the rules."""
        return self._number(_PREFERENCE)

    @property
    def protocol(self) -> int:
        """Return its maker."""
        return self._number(_PROTOCOL)

    @property
    def mark(self) -> int:
        """Return the mark that a packet must have, 0 for any."""
        return self._number(_MARK)

    @property
    def is_of_whole_mark(self) -> bool:
        """True if all bits of the mark count."""
        return self._number(_MASK) == _WHOLE_MARK

    @property
    def is_l3mdev(self) -> bool:
        """True if it looks the packet's own VRF's table up."""
        return self.action == _TO_TABLE and self._number(_L3MDEV) != 0

    @property
    def has_selectors(self) -> bool:
        """True if it is for some packets only, by anything besides a mark, or for some routes."""
        selects = self.destination or self.source or self.tos or self.flags & _INVERT
        selects = selects or (not self.mark and self._number(_MASK))  # packets without these bits
        return bool(selects) or bool(self._found.keys() - _NO_SELECTORS)

    @property
    def suppresses(self) -> bool:
        """True if it ignores some of the routes that it finds."""
        return bool({_SUPPRESS_LENGTH, _SUPPRESS_GROUP} & self._found.keys())

    def words(self) -> str:
        """Return it as ``ip rule`` has it; selectors of no common use in hexadecimal."""
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        found = self._found
        yield f"{AFIS[self.family].name.lower()} {self.preference}"
        if self.flags & _INVERT:
            yield "not"
        yield f"from {_range(found.get(_SRC), self.source)}"
        if self.destination:
            yield f"to {_range(found.get(_DST), self.destination)}"
        if self.tos:
            yield f"tos {self.tos:#x}"
        yield from (f"{w} {nl.text(found[a])}" for a, w in ((_IIF, "iif"), (_OIF, "oif"))
                    if a in found)  # fmt: skip
        if self.mark or self._number(_MASK):
            mask = "" if self.is_of_whole_mark else f"/{self._number(_MASK):#x}"
            yield f"fwmark {self.mark:#x}{mask}"
        for kind in sorted(found.keys() - _NO_SELECTORS - {_DST, _SRC, _IIF, _OIF}):
            yield f"{_WORDS.get(kind, f'attribute {kind}')} {bytes(found[kind]).hex()}"
        if self._number(_L3MDEV):
            yield "l3mdev"
        yield f"lookup {self.table}" if self.action == _TO_TABLE else f"action {self.action}"


def _range(packed: memoryview | None, length: int) -> str:
    return f"{ip_address(bytes(packed))}/{length}" if packed is not None else "all"


def dump(sock: nl.NetlinkSocket) -> Iterator[RawRule]:
    """Yield every rule of both families."""
    for family in AFIS:
        for message in sock.dump(nl.RTM_GETRULE, _RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
            yield RawRule(message.body)


def structural(raw: RawRule) -> Rule | None:
    """Return a rule for the structure; None if it has selectors besides a mark, or is of another
    family."""
    afi = AFIS.get(raw.family)
    if afi is None or raw.action != _TO_TABLE or raw.has_selectors:
        return None
    if raw.mark and not raw.is_of_whole_mark:
        return None
    table = 0 if raw.is_l3mdev else raw.table
    return Rule(afi, raw.preference, table, raw.is_l3mdev, raw.protocol, raw.mark)


def foreign(raw: RawRule) -> str:
    """Return a rule in words if another program made it and it decides before the VRFs' tables are
    asked (preference up to that of l3mdev), else ""."""
    if raw.protocol == PROTOCOL or raw.preference > L3MDEV_PREFERENCE or raw.family not in AFIS:
        return ""
    if raw.is_l3mdev and not raw.suppresses:
        return ""  # with selectors too: those packets get the table that they get anyway
    is_kernels = raw.preference == 0 and raw.table == _LOCAL and raw.action == _TO_TABLE
    if is_kernels and not raw.mark and not raw.has_selectors:
        return ""  # the kernel's own, which is moved
    return raw.words()
