"""Prefix -> path as sent to a peer, and pending changes: the latest one wins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from controlplane.bgp.path import Path
from controlplane.model.attributes import Attributes
from controlplane.model.prefix import Afi, Prefix

Parcel: TypeAlias = tuple[Afi, Attributes, list[Prefix]]
Unsaid: TypeAlias = list[tuple[list[Prefix], Exception]]
"""Prefixes that could not be announced, and why."""


class SentRoutes:
    """The routes that the peer should have. ``put`` gathers, ``drain`` returns what to send."""

    def __init__(self) -> None:
        self.paths: dict[Prefix, Path] = {}
        self._pending: dict[Prefix, bool] = {}  # prefix -> whether the peer knows it

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def is_pending(self) -> bool:
        """True while ``drain`` has something to return."""
        return bool(self._pending)

    def put(self, prefix: Prefix, path: Path | None) -> None:
        """Set the path to advertise for the prefix, None to withdraw it."""
        before = self.paths.get(prefix)
        if before is path:
            return
        self._pending.setdefault(prefix, before is not None)
        if path is None:
            del self.paths[prefix]
        else:
            self.paths[prefix] = path

    def renew(self, afis: Collection[Afi] = tuple(Afi)) -> None:
        """Advertise everything once more, without withdrawing anything for it."""
        for prefix in self.paths:
            if prefix.afi in afis:
                self._pending.setdefault(prefix, True)

    def replaces(self, prefix: Prefix) -> bool:
        """Return True if the prefix is advertised in place of another VRF's route that the peer
        has; if it goes before it was sent, that one is withdrawn."""
        if prefix in self._pending:
            self._pending[prefix] = True
        return prefix in self.paths

    def clear(self) -> None:
        """Forget what was advertised and what is pending."""
        self.paths, self._pending = {}, {}

    def known(self) -> list[Prefix]:
        """Return the prefixes sent to the peer, without pending changes."""
        unsaid = {prefix for prefix, sent in self._pending.items() if not sent}
        gone = [prefix for prefix, sent in self._pending.items() if sent]
        return list(dict.fromkeys([*gone, *(p for p in self.paths if p not in unsaid)]))

    def current(self) -> list[tuple[Prefix, Path]]:
        """Return what the peer has or is being sent again, each with its path of now."""
        return [(p, path) for p, path in self.paths.items() if self._pending.get(p, True)]

    def drain(self) -> tuple[list[Prefix], dict[Path, list[Prefix]]]:
        """Return what to withdraw and what to announce, the latter by path; nothing is pending
        then."""
        gone = self.drain_withdrawn()
        pending, self._pending = self._pending, {}
        return gone, self._by_path(pending)

    def drain_withdrawn(self) -> list[Prefix]:
        """Return what to withdraw; announcements stay pending."""
        gone = {p: sent for p, sent in self._pending.items() if p not in self.paths}
        for prefix in gone:
            del self._pending[prefix]
        return [prefix for prefix, sent in gone.items() if sent]

    def everything(self) -> dict[Path, list[Prefix]]:
        """Return all that should be known, by path."""
        return self._by_path(self.paths)

    def _by_path(self, prefixes: Iterable[Prefix]) -> dict[Path, list[Prefix]]:
        groups: dict[Path, list[Prefix]] = {}
        for prefix in prefixes:
            groups.setdefault(self.paths[prefix], []).append(prefix)
        return groups


def pack(
    groups: dict[Path, list[Prefix]], say: Callable[[Path], Attributes], failures: Unsaid
) -> list[Parcel]:
    """Join what leaves with the same attributes: few UPDATEs, many NLRI.

    Prefixes of a path whose attributes cannot be made are noted in ``failures``.
    """
    parcels: dict[tuple[Afi, Attributes], list[Prefix]] = {}
    for path, prefixes in groups.items():
        try:
            attributes = say(path)
        except Exception as error:  # one route must not keep all others from the peer
            failures.append((prefixes, error))
            continue
        for afi in Afi:
            of_afi = [prefix for prefix in prefixes if prefix.afi is afi]
            if of_afi:
                parcels.setdefault((afi, attributes), []).extend(of_afi)
    return [(afi, attributes, prefixes) for (afi, attributes), prefixes in parcels.items()]
