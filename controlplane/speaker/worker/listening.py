"""Listening sockets: tied to the VRF's device, and tried again until they can be had."""

from __future__ import annotations

import socket
import time
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import (
    GTSM_SENDING_TTL,
    Listener,
    NetworkError,
    set_sending_ttl,
)

RETRY_SECONDS = 0.5


def bind_to_device(made: socket.socket, device: str) -> None:
    """Tie a socket to a VRF; OSError (ENODEV) as long as there is no such device.

    Unprivileged as long as the socket is not bound to another device (Linux 5.7). ExaBGP's own
    looks the name up first, for which the C library opens a socket that a worker may not have.
    """
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


class BoundListener(Listener):  # type: ignore[misc]
    """A listener inside one VRF (``device``), or in the core (no device).

    A socket that cannot be bound yet (an address or a device that is still to come, the socket of
    a former process that is still there) is tried again instead of ending the process.
    """

    device = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._missing: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._next = 0.0

    def _new_socket(self, ip: Any) -> socket.socket:
        made: socket.socket = super()._new_socket(ip)
        if self.device:
            bind_to_device(made, self.device)
        return made

    def listen_on(
        self, local_addr: Any, remote_addr: Any, port: int, md5: Any, base64: Any, ttl_in: Any
    ) -> bool:
        """Listen now or soon; always True.

        The minimum TTL of GTSM is set on what is accepted, see ``BoundPeer``: the socket is
        shared, and one neighbour's minimum would shut out the others. The TTL to send with is
        set here too, since a SYN-ACK is sent before there is anything accepted.
        """
        wanted = (local_addr, remote_addr, port, md5, base64, ttl_in)
        key = (str(local_addr), str(remote_addr))
        try:
            self._listen(*wanted[:5], None)
            if ttl_in:
                self._send_from_afar(local_addr)
            self._missing.pop(key, None)
        except (NetworkError, OSError) as problem:
            if key not in self._missing:
                text = f"not listening yet on {local_addr} port {port}: {problem}"
                self._reactor.processes.report(wire.LogLine("warning", text))
            self._missing[key] = wanted
        return True

    def _send_from_afar(self, local_addr: Any) -> None:
        for made, (address, *_) in self._sockets.items():
            if address == local_addr.top():
                set_sending_ttl(made, local_addr.afi, address, GTSM_SENDING_TTL)

    def incoming(self) -> bool:
        """Accept; once in a while try again what could not be bound."""
        now = time.monotonic()
        if self._missing and now >= self._next:
            self._next = now + RETRY_SECONDS
            for wanted in list(self._missing.values()):
                self.listen_on(*wanted)
        return bool(super().incoming())

    def close_unwanted(self, wanted: Any) -> None:
        """Close what the configuration no longer asks for, and stop trying for it."""
        addresses = {address for address, _ in wanted}
        self._missing = {k: v for k, v in self._missing.items() if k[0] in addresses}
        super().close_unwanted(wanted)


def install(device: str) -> None:
    """Put this in the place of ExaBGP's."""
    BoundListener.device = device
    surface.replace(surface.loop_module, "Listener", BoundListener)
    surface.replace(surface.tcp, "bind_to_device", bind_to_device)
