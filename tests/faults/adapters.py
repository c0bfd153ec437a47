"""Every call to the kernel that the data plane makes, with the errors that it can have.

The list of calls is derived from the adapters: one that is added there without errors here fails
``test_every_call_of_an_adapter_has_its_errors``. To each call comes one error that it cannot have.
"""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from pe.devices.kernel import DeviceKernel
from pe.fib.next_hop_wire import NextHopWriter
from pe.fib.route_batch import RouteWriter
from pe.netlink.events import EventSocket
from pe.nft.reader import RulesetReader
from pe.nft.socket import RulesetWriter
from pe.observe import zone_flush
from pe.process import sysctl

ADAPTERS: tuple[type | ModuleType, ...] = (
    NextHopWriter, RouteWriter, DeviceKernel, EventSocket, RulesetReader, RulesetWriter,
    sysctl, zone_flush,
)  # fmt: skip
CANNOT_FAIL = {
    "close", "forget", "fileno",  # no request to the kernel
    "open",  # at start: the process ends and systemd starts it anew
    "counters", "packets",  # answers to `pe show` and metrics: nothing in the kernel follows them
}  # fmt: skip

_MEMORY = (errno.ENOBUFS, errno.ENOMEM)
ERRORS: dict[str, tuple[int, ...]] = {
    "NextHopWriter.create": (*_MEMORY, errno.EEXIST, errno.ENETDOWN, errno.EINVAL),
    "NextHopWriter.replace": (*_MEMORY, errno.ENOENT, errno.ENETDOWN, errno.EINVAL),
    "NextHopWriter.remove": _MEMORY,
    "NextHopWriter.read": (*_MEMORY, errno.EPROTO),
    "NextHopWriter.dump": _MEMORY,
    "RouteWriter.write": (*_MEMORY, errno.EPERM),
    "RouteWriter.dump": _MEMORY,
    "DeviceKernel.read_all": _MEMORY,
    "DeviceKernel.read_device": _MEMORY,
    "DeviceKernel.read_table": _MEMORY,
    "DeviceKernel.read_label": _MEMORY,
    "DeviceKernel.read_settings": (errno.EIO,),
    "DeviceKernel.main_routes": _MEMORY,
    "DeviceKernel.perform": (*_MEMORY, errno.EBUSY, errno.ENODEV, errno.EINVAL, errno.EROFS),
    "EventSocket.read": (errno.ENOBUFS, errno.ENOMEM),
    "RulesetReader.generation": (*_MEMORY, errno.EPROTO),
    "RulesetReader.shape": _MEMORY,
    "RulesetReader.present": _MEMORY,
    "RulesetReader.elements_at": _MEMORY,
    "RulesetWriter.apply": (*_MEMORY, errno.EINVAL, errno.ENOENT, errno.EPERM, errno.EBUSY),
    "zone_flush.flush": (*_MEMORY, errno.EAGAIN, errno.EPERM),
    "sysctl.read": (errno.EIO,),
    "sysctl.write": (errno.EACCES, errno.EROFS, errno.EINVAL),
}


def calls() -> set[str]:
    """Name every public call of the adapters."""
    return {
        f"{adapter.__name__.rpartition('.')[2]}.{name}"
        for adapter in ADAPTERS
        for name in _public(adapter)
        if name not in CANNOT_FAIL
    }


def owner(call: str) -> tuple[type | ModuleType, str]:
    """Return the adapter of a call, and the call's own name."""
    adapter, _, name = call.partition(".")
    return next(a for a in ADAPTERS if a.__name__.rpartition(".")[2] == adapter), name


def _public(adapter: type | ModuleType) -> Iterator[str]:
    for name, value in vars(adapter).items():
        own = getattr(value, "__module__", "") == getattr(adapter, "__module__", adapter.__name__)
        if inspect.isfunction(value) and own and not name.startswith("_"):
            yield name


def cases() -> list[tuple[str, Exception]]:
    """Pair every call with each error that it can have, and with one that it cannot have."""
    return [
        (call, error)
        for call, codes in ERRORS.items()
        for error in (*(OSError(code, f"injected {errno.errorcode[code]}") for code in codes),
                      KeyError("injected"))
    ]  # fmt: skip


def case_id(value: object) -> str:
    """Name a case in a test's name."""
    if isinstance(value, OSError):
        return errno.errorcode[value.errno or 0]
    return type(value).__name__ if isinstance(value, Exception) else str(value)


class Fault:
    """Makes one call of an adapter raise, once."""

    def __init__(self, owner: Any, name: str, error: Exception) -> None:
        self._owner, self._name, self._error = owner, name, error
        self.fired = False
        self._armed = False
        self._call: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:  # of a class it becomes a method
            return self._raise_once(*arguments, **options)

        setattr(owner, name, call)

    def arm(self) -> None:
        """Let the next call raise."""
        self._armed = True

    def disarm(self) -> None:
        """Let calls through again."""
        self._armed = False

    def _raise_once(self, *arguments: Any, **options: Any) -> Any:
        if self._armed:
            self._armed, self.fired = False, True
            raise self._error
        return self._call(*arguments, **options)

    def undo(self) -> None:
        """Give the owner its own call back."""
        setattr(self._owner, self._name, self._call)
