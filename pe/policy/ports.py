"""Which port belongs to which VRF, as the kernel has it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pe.netlink import codec as nl

_IFINFO = struct.Struct("=BxHiII")
_NAME, _MASTER, _MASK = 3, 10, 29
_SKIP_STATISTICS = 1 << 3


class Port(NamedTuple):
    """A device's master, and the number that the kernel gave it: another device of the same name
    has another one."""

    vrf: str
    ifindex: int


class PortReader:
    """Reads names, masters and indexes of all devices."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket()

    def ports(self) -> dict[str, Port]:
        """Those that have a master, by name."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + nl.u32(_MASK, _SKIP_STATISTICS)
        names: dict[int, str] = {}
        masters: dict[int, int] = {}
        for message in self._socket.dump(nl.RTM_GETLINK, body):
            _, _, index, _, _ = _IFINFO.unpack_from(message.body)
            found = nl.attributes(message.body[_IFINFO.size :])
            names[index] = nl.text(found[_NAME])
            if _MASTER in found:
                masters[index] = nl.number(found[_MASTER])
        return {
            names[index]: Port(names[master], index)
            for index, master in masters.items()
            if master in names
        }

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
