"""nftables: loads through the nft program, watches and counts over netlink.

nft's own listing is of no use for comparing (1.0.6 rewrites rules, and aborts on some), so what
was loaded is known by a fingerprint: a digest of the kernel's own encoding of our tables, taken
right after each load. The ruleset's generation number says cheaply that nothing at all changed.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pe.netlink import codec as nl
from pe.netlink.ownership import TABLE

NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS, _GET_GEN, _GET_OBJECT = (
    _SUBSYSTEM | kind for kind in (1, 4, 7, 10, 13, 16, 19)
)
FAMILIES = {"inet": 1, "arp": 3, "netdev": 5}
_SET_DYNAMIC = 0x20 | 0x10
_CHAIN_HOOK, _HOOK_DEV = 4, 3
_GENMSG = struct.Struct("=BBH")
_BE32, _BE64 = struct.Struct(">I"), struct.Struct(">Q")
_COUNTER = 1  # NFT_OBJECT_COUNTER


class RulesetRefusedError(OSError):
    """nft or the kernel would not take a transaction; the old ruleset stands."""


@dataclass(frozen=True, slots=True)
class CounterView:
    """A named counter: ``lbl_06__PORT``, or ``cpp_01.bgp__PORT`` where there are classes."""

    family: str
    name: str
    packets: int
    bytes: int

    @property
    def requirement(self) -> str:
        """The id of the requirement that it counts for."""
        return self.name.partition("__")[0].partition(".")[0]

    @property
    def traffic(self) -> str:
        """The class of traffic, "" where there is only one."""
        return self.name.partition("__")[0].partition(".")[2]

    @property
    def subject(self) -> str:
        """The port or VRF, "" for the node."""
        return self.name.partition("__")[2]


@dataclass(frozen=True, slots=True)
class Names:
    """What a table in the kernel holds, by name."""

    chains: frozenset[str]
    sets: frozenset[str]
    counters: frozenset[str]
    bound: frozenset[str] = frozenset()
    """The chains that sit at a device. A device that goes takes the place with it, but not the
    chain (nft_netdev_event)."""


async def load(text: str) -> None:
    """Run one transaction. Raises RulesetRefusedError with nft's words."""
    process = await asyncio.create_subprocess_exec(
        "nft",
        "-f",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await process.communicate(text.encode())
    if process.returncode:
        shown = words.decode(errors="replace").strip()[:500]
        raise RulesetRefusedError(errno.EINVAL, shown or "nft refused the ruleset")


class NftReader:
    """Reads our tables as they are."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket(NETLINK_NETFILTER)

    def generation(self) -> int:
        """The number of the ruleset's last change, by whomever."""
        seq = self._socket.next_seq()
        head = nl.HEADER.pack(20, _GET_GEN, nl.NLM_F_REQUEST, seq, 0)
        self._socket.send(head + _GENMSG.pack(0, 0, 0))
        for message in self._socket.receive():
            if message.seq == seq and message.type != nl.NLMSG_ERROR:
                return int.from_bytes(nl.attributes(message.body[4:])[1], "big")
        return 0

    def fingerprint(self) -> str:
        """A digest of all of ours that does not change by itself, nor when others change theirs:
        the head of each message, which has the ruleset's generation in it, is left out."""
        digest = hashlib.sha256()
        for family in FAMILIES:
            for part in self._static_parts(family):
                digest.update(part)
        return digest.hexdigest()

    def _static_parts(self, family: str) -> Iterator[bytes]:
        for body in self._dump(_GET_CHAIN, family, 1):
            yield bytes(body[4:])
        for body in self._dump(_GET_RULE, family, 1):
            yield bytes(body[4:])
        for body in self._dump(_GET_SET, family, 1):
            found = nl.attributes(body[4:])
            flags = int.from_bytes(found[3], "big") if 3 in found else 0
            if not flags & _SET_DYNAMIC:
                yield bytes(body[4:])
                yield from self._elements(family, nl.text(found[2]))

    def _elements(self, family: str, set_name: str) -> Iterator[bytes]:
        names = _string(1, TABLE) + _string(2, set_name)
        for message in self._socket.dump(_GET_ELEMENTS, _head(family) + names):
            # Hash sets come in the order of their buckets, which stays while nothing changes.
            yield bytes(message.body[4:])

    def names(self, family: str) -> Names | None:
        """What our table of a family holds; None if there is no such table."""
        tables = (nl.attributes(body[4:]) for body in self._dump(_GET_TABLE, family, 0))
        if not any(nl.text(found[1]) == TABLE for found in tables):
            return None
        return Names(
            chains=frozenset(self._named(_GET_CHAIN, family, 3)),
            sets=frozenset(self._named(_GET_SET, family, 2)),
            counters=frozenset(self._named(_GET_OBJECT, family, 2)),
            bound=frozenset(self._bound(family)),
        )

    def _bound(self, family: str) -> Iterator[str]:
        for body in self._dump(_GET_CHAIN, family, 1):
            chain = nl.attributes(body[4:])
            if _CHAIN_HOOK in chain and _HOOK_DEV in nl.attributes(chain[_CHAIN_HOOK]):
                yield nl.text(chain[3])

    def _named(self, kind: int, family: str, attribute: int) -> Iterator[str]:
        for body in self._dump(kind, family, 1):
            yield nl.text(nl.attributes(body[4:])[attribute])

    def counters(self) -> list[CounterView]:
        """Every named counter of ours with its figures now."""
        return [
            view
            for family in FAMILIES
            for body in self._dump(_GET_OBJECT, family, 1)
            if (view := _counter(family, nl.attributes(body[4:])))
        ]

    def packets(self, family: str, counter: str) -> int | None:
        """What one named counter of ours has counted; None if there is none of that name."""
        seq = self._socket.next_seq()
        names = _string(1, TABLE) + _string(2, counter) + nl.attribute(3, _BE32.pack(_COUNTER))
        body = _head(family) + names
        self._socket.send(
            nl.HEADER.pack(16 + len(body), _GET_OBJECT, nl.NLM_F_REQUEST, seq, 0) + body
        )
        for message in self._socket.receive():
            if message.seq == seq and message.type != nl.NLMSG_ERROR:
                view = _counter(family, nl.attributes(message.body[4:]))
                return view.packets if view else None
        return None

    def _dump(self, kind: int, family: str, table_attribute: int) -> Iterator[memoryview]:
        """Bodies of a kind; those of our table only, where they name one."""
        filtered = _string(table_attribute, TABLE) if table_attribute else b""
        try:
            answer = self._socket.dump(kind, _head(family) + filtered)
        except OSError as error:
            if error.errno == errno.ENOENT:  # no such table
                return
            raise
        for message in answer:
            found = nl.attributes(message.body[4:])
            if not table_attribute or nl.text(found[1]) == TABLE:
                yield message.body

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _head(family: str) -> bytes:
    return _GENMSG.pack(FAMILIES[family], 0, 0)


def _string(kind: int, value: str) -> bytes:
    return nl.attribute(kind, value.encode() + b"\0")


def _counter(family: str, found: dict[int, memoryview]) -> CounterView | None:
    if int.from_bytes(found[3], "big") != _COUNTER:
        return None
    data = nl.attributes(found[4])
    (size,), (packets,) = _BE64.unpack(data[1]), _BE64.unpack(data[2])
    return CounterView(family, nl.text(found[2]), packets, size)
