"""Compare a configuration with the machine that ``pe check --live`` runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from controlplane.model.intent import NodeIntent
from pe.cli import kernel_support
from pe.model.port_kinds import refusal
from pe.model.state import Link
from pe.netlink import codec as nl
from pe.netlink import rtnl


def lacking_here() -> Iterator[str]:
    """Yield a sentence for each thing that a node needs and this kernel has not."""
    with contextlib.suppress(PermissionError):
        for need in kernel_support.missing():
            yield f"kernel: {need}"


def unasked() -> Iterator[str]:
    """Yield why the kernel was not asked what it can do, if it was not."""
    try:
        kernel_support.has_device_kind("vrf")
    except PermissionError:
        yield "kernel: only root can ask what it can do: run this with sudo"


def missing(intent: NodeIntent) -> Iterator[str]:
    """Yield a sentence for each device or address that the file names and this network namespace
    has not, and for each device that cannot be a CE port. Reads only. Raises OSError."""
    sock = nl.NetlinkSocket()
    try:
        links = rtnl.links(sock)
        addresses = rtnl.addresses(sock, {link.index: link.name for link in links.values()})
    finally:
        sock.close()
    yield from _devices(intent, links)
    here = {each.interface.ip for found in addresses.values() for each in found}
    spoken = {peer.local_address.version for peer in intent.peers}
    for address in intent.loopbacks:
        # In a core of one family alone the other loopback is a name without an address.
        if address not in here and (address.version in spoken or not spoken):
            yield f"loopback {address}: no device has it; ip address add {address} dev lo"


def _devices(intent: NodeIntent, present: dict[str, Link]) -> Iterator[str]:
    for core in intent.core_ports:
        if core.name not in present:
            yield f"core-ports.{core.name}: there is no such device"
    for name in intent.management_ports:
        if name not in present:
            yield f"management-ports: there is no device {name}"
    for vrf in intent.vrfs:
        for port in vrf.ports:
            place = f"vrfs.{vrf.name}.ports.{port.name}"
            device = present.get(port.parent or port.name)
            if device is None and port.parent:
                yield f"{place}.parent: there is no device {port.parent}"
            elif device is None:
                yield f"{place}: there is no such device; the port opens when it comes"
            elif reason := refusal(device, carries_tags=bool(port.parent)):
                yield f"{place}: {reason}"
