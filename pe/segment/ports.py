"""Which port belongs to which VRF, as the kernel has it."""

from __future__ import annotations

import struct

from pe.kernel import netlink as nl

_IFINFO = struct.Struct("=BxHiII")
_NAME, _MASTER, _MASK = 3, 10, 29
_SKIP_STATISTICS = 1 << 3


class PortReader:
    """Reads names and masters of all devices."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket()

    def ports(self) -> dict[str, str]:
        """Port name -> the name of its master, for those that have one."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + nl.u32(_MASK, _SKIP_STATISTICS)
        names: dict[int, str] = {}
        masters: dict[str, int] = {}
        for message in self._socket.dump(nl.RTM_GETLINK, body):
            _, _, index, _, _ = _IFINFO.unpack_from(message.body)
            found = nl.attributes(message.body[_IFINFO.size :])
            names[index] = name = nl.text(found[_NAME])
            if _MASTER in found:
                masters[name] = nl.number(found[_MASTER])
        return {name: names[master] for name, master in masters.items() if master in names}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
