"""What the packet filters have to follow, and their load: a port opens only behind its own."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection

import msgspec

from controlplane.model.desired import Delta, Desired
from controlplane.model.prefix import IPAddress
from pe.filters.context import RenderContext
from pe.filters.manager import FilterManager
from pe.filters.ruleset import ruleset
from pe.model.changes import FilterChanges
from pe.model.guards import Guard
from pe.model.mark_code import MarkCode
from pe.model.state import Failures, Structure
from pe.nft.names import name as nft_name
from pe.process.clock import boot_id

KIND = "ruleset"

Fail = Callable[[str, str, OSError, float], None]
"""Kind, name, error, now: note a failure, and log a new one."""


class FilterLoad:
    """The filters of one node: what changed since the last load, and what the policy requires.

    ``requirements_met`` is set while the loaded filters track and judge what it requires.
    """

    def __init__(
        self, desired: Desired, guards: FilterManager, failures: Failures, fail: Fail, *,
        disabled: frozenset[Guard], spare_ports: frozenset[str], neighbours: int,
    ) -> None:  # fmt: skip
        self._desired, self._guards = desired, guards
        self._failures, self._fail = failures, fail
        self._disabled, self._spare, self._neighbours = disabled, spare_ports, neighbours
        self._changes = FilterChanges(everything=True)
        self._loading = FilterChanges()
        self._kept = False
        self._tracked: frozenset[str] = frozenset()
        self._judged: frozenset[str] = frozenset()
        self._met: tuple[frozenset[str], frozenset[str]] | None = None
        self.requirements_met = asyncio.Event()

    # -- what may have changed ----------------------------------------------------------------

    def note(self, delta: Delta) -> None:
        """Note a change of what is desired, before it is applied."""
        changes = self._changes
        changes.node |= delta.node is not None or bool(delta.core_ports)
        changes.vrfs |= delta.vrfs.keys() | delta.reaches.keys()
        changes.sessions |= delta.sessions.keys()
        changes.ports |= delta.core_ports.keys()
        for name, port in delta.ce_ports.items():
            changes.ports.add(name)
            for each in (self._desired.ce_ports.get(name), port):
                if each:
                    changes.vrfs.add(each.vrf)
                    if each.parent:
                        changes.ports.add(each.parent)

    def drifted(self) -> None:
        """Note that the kernel's ruleset is not the loaded one."""
        self._changes.everything = True

    def device_changed(self, name: str, *, rebound: bool) -> None:
        """Note that a device of this name came or went; ``rebound``: it is another one."""
        self._changes.ports.add(name)
        if rebound:
            self._changes.rebound.add(name)  # the kernel has unbound its chains

    def core_addresses_changed(self) -> None:
        """Note that a core port has other addresses."""
        self._changes.node = True

    def require_verdicts(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        """Have connections of VRFs tracked, and only judged packets cross some of them."""
        self._changes.vrfs |= (tracked ^ self._tracked) | (judged ^ self._judged)
        self._tracked, self._judged = tracked, judged
        if self._met == (tracked, judged) and not self._changes.vrfs:
            self.requirements_met.set()
        else:
            self._changes.node = True
            self.requirements_met.clear()

    # -- answers ------------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """True if something is to be loaded, now or again."""
        return bool(self._changes) and not self._failures.waiting(KIND, "", now)

    def concern(self, vrf: str, devices: Collection[str]) -> bool:
        """Return True while filters of a VRF with these devices are to be loaded; a load that fails
        is repeated, and not waited for."""
        return not self._failures.count(KIND) and self._changes.concern(vrf, devices)

    def is_guarded(self, port: str) -> bool:
        """True if a CE port's edge guard is in force: not while its chains are unbound."""
        if Guard.EDGE in self._disabled:
            return True
        if port in self._changes.rebound or port in self._loading.rebound:
            return False
        return self._guards.has_chain("netdev", f"ce_{nft_name(port)}")

    # -- loading ------------------------------------------------------------------------------

    async def load(self, seen: Structure, now: float, *, keep: bool) -> set[str]:
        """Load what changed; return the ports whose guard may be another one. ``keep``: leave the
        filters of ports that are about to go."""
        if not self._changes and not (self._kept and not keep):
            return set()
        if self._failures.waiting(KIND, "", now):
            return set()
        context = self._render_context(seen)
        self._loading, self._changes = self._changes, FilterChanges()
        try:
            if self._loading.rebound:
                self._guards.doubt()
            # In a thread: with 1,000 ports rendering takes the best part of a second.
            wanted = await asyncio.to_thread(ruleset, context)
            await self._guards.bring(wanted, keep=keep)
        except BaseException as error:
            self._changes.add(self._loading)  # also if cancelled: they are still to be loaded
            if not isinstance(error, OSError | ValueError):
                raise
            refused = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
            self._fail(KIND, "", refused, now)
            return set()
        else:
            return self._loaded(context, keep=keep)
        finally:
            self._loading = FilterChanges()

    def _loaded(self, context: RenderContext, *, keep: bool) -> set[str]:
        self._kept = keep
        self._failures.cleared(KIND, "")
        self._met = (context.tracked, context.judged)
        if self._met == (self._tracked, self._judged):
            self.requirements_met.set()
        everything = self._loading.everything
        return set(self._desired.ce_ports) if everything else self._loading.ports

    def _render_context(self, seen: Structure) -> RenderContext:
        """Return a copy of what the filters are rendered from: a change may arrive meanwhile."""
        desired = self._desired
        copied = msgspec.structs.replace(
            desired, vrfs=dict(desired.vrfs), reaches=dict(desired.reaches),
            ce_ports=dict(desired.ce_ports), core_ports=dict(desired.core_ports),
            sessions=dict(desired.sessions),
        )  # fmt: skip
        return RenderContext(
            copied, frozenset(seen.links), self._disabled, self._spare, self._neighbours,
            self._core_addresses(seen), self._tracked, self._judged, MarkCode.of(boot_id()),
            frozenset(seen.bare), frozenset(seen.tunnels),
        )  # fmt: skip

    def _core_addresses(self, seen: Structure) -> frozenset[IPAddress]:
        """Return the addresses of core ports, without link-local ones, which every link has."""
        ports = self._desired.core_ports
        found = (a.interface.ip for name in ports for a in seen.addresses.get(name, ()))
        return frozenset(address for address in found if not address.is_link_local)
