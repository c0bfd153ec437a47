"""ExaBGP's loop with the worker's parts in it, configured and commanded through the pipe."""

from __future__ import annotations

import gc
from typing import Any

import msgspec

from controlplane.speaker import wire
from controlplane.speaker.worker import (
    confinement,
    listening,
    logs,
    notifications,
    opens,
    outgoing,
    refreshes,
    sessions,
    surface,
    update_batching,
    updates,
)
from controlplane.speaker.worker.commands import Commands
from controlplane.speaker.worker.link import Link
from controlplane.speaker.worker.surface import Configuration, Reactor


class PipedConfiguration(Configuration):  # type: ignore[misc]
    """Parses what the node has sent last; no secret is ever on a disk."""

    def __init__(self, given: wire.Configure) -> None:
        super().__init__([""], text=True)
        self.given = given

    def reload(self) -> Any:
        """Parse; the TCP MD5 keys never pass through ExaBGP's parser."""
        self._configurations = [self.given.text]
        accepted = super().reload()
        for neighbor in self.neighbors.values():
            neighbor["md5-password"] = self.given.md5.get(str(neighbor["peer-address"]))
        return accepted


class NodeReactor(Reactor):  # type: ignore[misc]
    """ExaBGP's loop with the node's commands in place of its text commands."""

    def __init__(self, configuration: PipedConfiguration) -> None:
        super().__init__(configuration)
        self.api = Commands(self)

    def configure(self, given: wire.Configure) -> None:
        """Have exactly the sessions that the node has sent."""
        self.configuration.given = given
        self.reload()

    def reload(self) -> bool:
        """Parse, start and end sessions; index what there is now.

        A peer that was removed stays in ExaBGP's table until the loop's next turn. Configured anew
        before that, it counted as present, was then deleted, and its session never came back.
        """
        for key in [key for key, peer in self._peers.items() if peer.is_removed]:
            del self._peers[key]
        accepted = bool(super().reload())
        self.api.index(self._peers)
        return accepted


def install(link: Link, device: str) -> None:
    """Put the worker's parts in the place of ExaBGP's."""
    surface.replace(surface.loop_module, "Processes", lambda: link)
    logs.install(link)
    updates.install(logs.throttled(link))
    opens.install(link.report)
    refreshes.install()
    notifications.install()
    update_batching.install()
    outgoing.install(link.report)
    sessions.install(link)
    listening.install(device)


def run(commands: int, reports: int, device: str) -> int:
    """Run until the node ends it; the exit status is ExaBGP's."""
    surface.getenv()
    link = Link(commands, reports)
    install(link, device)
    first = msgspec.json.decode(link.first(), type=wire.Configure)
    # What is loaded by now stays: without it in every collection a full one is cheap.
    gc.collect()
    gc.freeze()
    unconfined = confinement.confine(first.sessions)
    if unconfined:
        link.report(wire.Unconfined(unconfined))
    return int(NodeReactor(PipedConfiguration(first)).run())
