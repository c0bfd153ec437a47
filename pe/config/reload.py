"""Reload the configuration while the node runs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from controlplane.model.events import Event, IntentChanged
from controlplane.model.intent import NodeIntent
from controlplane.model.view import ReloadIncompleteError, ReloadRefusedError, ReloadReport
from controlplane.vpn.plan import IntentRefusedError
from pe.config.errors import ConfigErrors
from pe.config.reader import Configuration, read_config
from pe.process.journal import Journal
from pe.process.service_manager import ServiceManager
from pe.supervisor import SupervisedPart

# What is part of the node's identity: changing it under running sessions and locks would leave
# half of it behind, so a reload refuses and says what to do.
FIXED = (
    "name",
    "router_id",
    "asn",
    "loopback",
    "loopback6",
    "management_ports",
    "run_dir",
    "state_dir",
    "speaker_user",
    "speaker_uids",
    "segment_function",
)


APPLY_SECONDS = 0.8
"""How long a reload waits for the API and the metrics to follow. Less than a listener that closes
leaves its calls: the reload may have come through that one."""

Apply = Callable[[NodeIntent], Awaitable[None]]
Submit = Callable[[Callable[[int], Event]], Awaitable[object]]
"""Hand a request with a ticket to the router and wait for its answer."""


class Reloader:
    """Read the configuration again and apply it as a whole, or refuse it as a whole."""

    def __init__(
        self, path: Path, intent: NodeIntent, journal: Journal, part: SupervisedPart,
        manager: ServiceManager, *, submit: Submit,
    ) -> None:  # fmt: skip
        self._part, self._manager, self._submit = part, manager, submit
        self.followers: dict[str, Apply] = {}
        """What else takes over an accepted configuration, by name."""
        self.digest = _digest(path)
        # Of two at once the one that read the older file could be applied last.
        self._one_at_a_time = asyncio.Lock()
        self.path = path
        self.intent = intent
        self.loaded = time.time()
        self._journal = journal

    @property
    def file(self) -> str:
        """Return the path of the configuration file."""
        return str(self.path)

    async def reload(self) -> ReloadReport:
        """Apply the file as a difference. Raises ReloadRefusedError with every error, and
        ReloadIncompleteError if a part of the node did not take it.

        A caller that goes away ends only its waiting.
        """
        done: asyncio.Future[ReloadReport] = asyncio.get_running_loop().create_future()
        self._part.spawn(self._answer(done))
        return await done

    async def _answer(self, done: asyncio.Future[ReloadReport]) -> None:
        try:
            report = await self._announced()
        except (ReloadRefusedError, ReloadIncompleteError) as error:
            if not done.done():
                done.set_exception(error)
        except BaseException as error:
            if not done.done():
                done.set_exception(RuntimeError(f"the reload failed: {error!r}"))
            raise
        else:
            if not done.done():
                done.set_result(report)

    async def _announced(self) -> ReloadReport:
        async with self._one_at_a_time:
            self._manager.reloading()
            try:
                return await self._reload()
            finally:
                self._manager.ready()

    async def _reload(self) -> ReloadReport:
        try:
            # In a thread: a file with 1,000 ports takes longer than the loop may stand still.
            found, changes = await asyncio.to_thread(self._read)
        except ConfigErrors as errors:
            raise ReloadRefusedError(tuple(str(error) for error in errors.errors)) from None
        self._refuse_identity_change(found.intent)
        digest = _digest(self.path)
        if changes:
            try:
                await self._submit(lambda ticket: IntentChanged(found.intent, ticket))
            except IntentRefusedError as refusal:
                raise ReloadRefusedError((f"{self.path}: {refusal}",)) from None
        self.intent, self.loaded, self.digest = found.intent, time.time(), digest
        self._journal.set_level(found.intent.log_level)
        failed, warnings = await self._apply(found.intent)
        self._journal.info("configuration_loaded", file=str(self.path), changes=len(changes))
        if failed:
            raise ReloadIncompleteError(tuple(failed))
        return ReloadReport(changes=changes, warnings=(*map(str, found.warnings), *warnings))

    def _read(self) -> tuple[Configuration, tuple[str, ...]]:
        """Return the configuration, with what did not change as it is, and the changes."""
        found = read_config(self.path)
        kept = replace(found, intent=keep_unchanged(self.intent, found.intent))
        return kept, describe(self.intent, kept.intent)

    async def _apply(self, intent: NodeIntent) -> tuple[list[str], list[str]]:
        """Have the followers take over: what failed, and who is still at it, a line each.

        The work goes on if the caller goes away; the part logs what fails of it.
        """
        failed: list[str] = []

        async def one(name: str, apply: Apply) -> None:
            try:
                await apply(intent)
            except Exception as error:
                failed.append(f"{name}: {error or type(error).__name__}")
                error.add_note(f"{name} does not follow the reload")
                raise

        tasks = {name: self._part.spawn(one(name, a)) for name, a in self.followers.items()}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=APPLY_SECONDS)
        slow = [name for name, task in tasks.items() if not task.done()]
        return failed, [f"{name} is still changing; the journal says if it fails" for name in slow]

    def on_signal(self) -> None:
        """Reload on SIGHUP as ``pe reload`` does; a refusal is logged."""
        self._part.spawn(self._reload_and_log())

    async def _reload_and_log(self) -> None:
        try:
            await self.reload()
        except ReloadRefusedError as refused:
            for error in refused.errors:
                self._journal.error("configuration_refused", reason=error)
        except ReloadIncompleteError as incomplete:
            for error in incomplete.errors:
                self._journal.error("configuration_incomplete", reason=error)

    def _refuse_identity_change(self, new: NodeIntent) -> None:
        changed = [f for f in FIXED if getattr(self.intent, f) != getattr(new, f)]
        if changed:
            raise ReloadRefusedError(
                tuple(
                    f"{self.path}: {f.replace('_', '-')} cannot change while the node runs;"
                    " restart it with `pe run`"
                    for f in changed
                )
            )


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex; "" if it cannot be read any more."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def keep_unchanged(old: NodeIntent, new: NodeIntent) -> NodeIntent:
    """Return the new intent with the VRFs of the old one that are the same: the router looks at
    the others alone."""
    known = {vrf.name: vrf for vrf in old.vrfs}
    vrfs = (known[v.name] if known.get(v.name) == v else v for v in new.vrfs)
    return msgspec.structs.replace(new, vrfs=tuple(vrfs))


def describe(old: NodeIntent, new: NodeIntent) -> tuple[str, ...]:
    """Return the changes of a reload, one line each."""
    lines = [
        *_keyed("vrf", {v.name: v for v in old.vrfs}, {v.name: v for v in new.vrfs}),
        *_keyed("peer", {str(p.peer): p for p in old.peers}, {str(p.peer): p for p in new.peers}),
        *_keyed(
            "core port", {p.name: p for p in old.core_ports}, {p.name: p for p in new.core_ports}
        ),
    ]
    told = {"vrfs", "peers", "core_ports"}
    rest = [f for f in msgspec.structs.fields(NodeIntent) if f.name not in told]
    lines += [
        f"{f.name.replace('_', '-')} changed"
        for f in rest
        if getattr(old, f.name) != getattr(new, f.name)
    ]
    return tuple(lines)


def _keyed(what: str, old: dict[str, object], new: dict[str, object]) -> list[str]:
    gone = [f"{what} {name} removed" for name in old if name not in new]
    added = [f"{what} {name} added" for name in new if name not in old]
    changed = [f"{what} {n} changed" for n in new if n in old and old[n] != new[n]]
    return gone + added + changed
