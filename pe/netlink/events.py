"""Follow the kernel: one socket for all rtnetlink groups, filtered before it queues.

Installing 100,000 routes makes 100,000 notifications of our own doing. A classic BPF program on
the socket drops route messages that carry our writer's port id, so they cost nothing here, while
changes that another process makes to our routes are still received.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable

from pe.netlink import codec as nl

_GROUPS = (
    1,  # RTNLGRP_LINK
    5,  # RTNLGRP_IPV4_IFADDR
    7,  # RTNLGRP_IPV4_ROUTE
    8,  # RTNLGRP_IPV4_RULE
    9,  # RTNLGRP_IPV6_IFADDR
    11,  # RTNLGRP_IPV6_ROUTE
    19,  # RTNLGRP_IPV6_RULE
    24,  # RTNLGRP_IPV4_NETCONF
    25,  # RTNLGRP_IPV6_NETCONF
    27,  # RTNLGRP_MPLS_ROUTE
    29,  # RTNLGRP_MPLS_NETCONF
    32,  # RTNLGRP_NEXTHOP
)
_SO_ATTACH_FILTER = 26
_RECEIVE_BUFFER = 8 << 20

_LOAD_HALF, _LOAD_WORD, _JUMP_IF, _RETURN = 0x28, 0x20, 0x15, 0x06
_TYPE_OFFSET, _PID_OFFSET = 4, 12


def _filter(pid: int) -> list[tuple[int, int, int, int]]:
    # BPF loads in network order what netlink writes in host order: swap the constants instead.
    new, gone = socket.htons(nl.RTM_NEWROUTE), socket.htons(nl.RTM_DELROUTE)
    return [
        (_LOAD_HALF, 0, 0, _TYPE_OFFSET),
        (_JUMP_IF, 1, 0, new),
        (_JUMP_IF, 0, 2, gone),
        (_LOAD_WORD, 0, 0, _PID_OFFSET),
        (_JUMP_IF, 1, 0, socket.htonl(pid)),
        (_RETURN, 0, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, 0),
    ]


class EventSocket:
    """Receive notifications of every relevant kind, except our own route changes.

    ``own_pid`` is the route writer's port id. ``lost`` is called when the kernel dropped
    notifications because we were too slow: everything has to be read anew.
    """

    def __init__(
        self, own_pid: int, handle: Callable[[nl.Message], None], lost: Callable[[], None]
    ) -> None:
        self._socket = nl.NetlinkSocket(groups=_GROUPS)
        self._socket.resize(socket.SO_RCVBUF, nl.SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        self._attach(own_pid)
        self._handle, self._lost = handle, lost

    def _attach(self, pid: int) -> None:
        program = b"".join(struct.pack("=HBBI", *step) for step in _filter(pid))
        code = ctypes.create_string_buffer(program)
        pointer = struct.pack("HL", len(program) // 8, ctypes.addressof(code))
        self._socket.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)

    def fileno(self) -> int:
        """Return the descriptor for ``loop.add_reader``."""
        return self._socket.socket.fileno()

    def read(self) -> None:
        """Read the waiting messages and hand each to the handler."""
        try:
            waiting = self._socket.receive()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._lost()
            return
        for message in waiting:
            self._handle(message)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
