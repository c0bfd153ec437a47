"""Describe the kernel's observed state as plain values, and failed changes to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.model.intent import IPInterface
from controlplane.model.log import Log
from controlplane.model.prefix import Afi

LinkName: TypeAlias = str

ETHERNET = 1
"""ARPHRD_ETHER."""
BARE_IP = frozenset({
    0xFFFE,  # ARPHRD_NONE: tun, wireguard
    512,  # ARPHRD_PPP
    519,  # ARPHRD_RAWIP: mobile modems
    768,  # ARPHRD_TUNNEL: ipip
    769,  # ARPHRD_TUNNEL6: ip6tnl
    776,  # ARPHRD_SIT
    778,  # ARPHRD_IPGRE
    823,  # ARPHRD_IP6GRE
})  # fmt: skip
"""Types whose packets begin with the IP header."""

OVER_IP = frozenset({
    "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan", "ipip", "sit", "ip6tnl",
    "wireguard", "vxlan", "geneve", "l2tpeth", "gtp", "amt", "fou",
})  # fmt: skip
"""Kinds of devices whose packets leave as the payload of packets of the node's own."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. ``master`` and ``parent`` are device names, "" where there is none;
    ``table`` is a VRF's, ``vlan`` a VLAN device's id, 0 for others. ``hardware_type`` is its
    ARPHRD value; ``has_no_remote``: an IP tunnel of any number of ends."""

    index: int
    name: LinkName
    kind: str = ""
    up: bool = False
    carrier: bool = False
    master: LinkName = ""
    parent: LinkName = ""
    alias: str = ""
    mtu: int = 0
    table: int = 0
    vlan: int = 0
    hardware_type: int = ETHERNET
    has_no_remote: bool = False

    @property
    def is_bare(self) -> bool:
        """True if the device's packets have no header in front of the IP header."""
        return self.hardware_type in BARE_IP

    @property
    def is_tunnel(self) -> bool:
        """True if the device sends packets of the node's own, in which those for it are."""
        return self.kind in OVER_IP


@dataclass(frozen=True, slots=True)
class Rule:
    """Describe an IP rule at ``preference``, for every packet or for those with a ``mark``.

    ``table`` is 0 for an l3mdev rule. ``protocol`` says who made it.
    """

    afi: Afi
    preference: int
    table: int
    l3mdev: bool = False
    protocol: int = field(default=0, compare=False)
    mark: int = 0


@dataclass(frozen=True, slots=True)
class PortAddress:
    """Describe an address on a port; ``ours`` if it carries our IFA_PROTO mark."""

    port: LinkName
    interface: IPInterface
    ours: bool


@dataclass(frozen=True, slots=True)
class LastResort:
    """Describe the ``unreachable`` default route of a VRF's table (trap T1)."""

    afi: Afi
    table: int


@dataclass(slots=True)
class Structure:
    """Hold the small part of the kernel's state: everything except routes and next hops.

    ``addresses`` are by port. ``sysctls`` holds the values of those that were asked for (None: the
    file is missing), ``labels`` our label routes with the name of the VRF device that each leads
    to, ``foreign_labels`` the labels that another program routes. ``rules`` gives each rule as it
    is in the kernel, since rules compare without their maker. ``by_index``, ``indexes``,
    ``members`` (devices by their master), ``bare`` (those of bare IP packets) and ``tunnels``
    follow from ``links``: change those through ``put_link`` and ``drop_link``.
    """

    links: dict[LinkName, Link] = field(default_factory=dict)
    addresses: dict[LinkName, frozenset[PortAddress]] = field(default_factory=dict)
    rules: dict[Rule, Rule] = field(default_factory=dict)
    last_resorts: set[LastResort] = field(default_factory=set)
    labels: dict[int, str] = field(default_factory=dict)
    foreign_labels: set[int] = field(default_factory=set)
    sysctls: dict[str, str | None] = field(default_factory=dict)
    by_index: dict[int, Link] = field(init=False, default_factory=dict, compare=False)
    indexes: dict[LinkName, int] = field(init=False, default_factory=dict, compare=False)
    members: dict[LinkName, set[LinkName]] = field(init=False, default_factory=dict, compare=False)
    bare: set[LinkName] = field(init=False, default_factory=set, compare=False)
    tunnels: set[LinkName] = field(init=False, default_factory=set, compare=False)

    def __post_init__(self) -> None:
        for link in self.links.values():
            self._file(link)

    def put_rule(self, rule: Rule) -> None:
        """Take in a rule."""
        self.rules.pop(rule, None)
        self.rules[rule] = rule

    def put_link(self, link: Link) -> None:
        """Take in a device as it is now."""
        self.drop_link(link.name)
        former = self.by_index.get(link.index)
        if former is not None:  # it was renamed
            self.drop_link(former.name)
        self.links[link.name] = link
        self._file(link)

    def drop_link(self, name: LinkName) -> None:
        """Forget a device; nothing follows if it is not known."""
        link = self.links.pop(name, None)
        if link is None:
            return
        del self.indexes[name]
        self.by_index.pop(link.index, None)
        self.bare.discard(name)
        self.tunnels.discard(name)
        inside = self.members.get(link.master)
        if inside is not None:
            inside.discard(name)
            if not inside:
                del self.members[link.master]

    def _file(self, link: Link) -> None:
        self.by_index[link.index] = link
        self.indexes[link.name] = link.index
        if link.is_bare:
            self.bare.add(link.name)
        if link.is_tunnel:
            self.tunnels.add(link.name)
        if link.master:
            self.members.setdefault(link.master, set()).add(link.name)


@dataclass(frozen=True, slots=True)
class Failure:
    """Describe a change that the kernel refused. ``since`` is the loop's clock in seconds."""

    kind: str
    key: str
    errno: int
    message: str
    since: float
    tries: int


ROUTE, ROUTE_TABLE, NEXT_HOP = "route", "route-table", "next-hop"
PORT, ADDRESS = "port", "address"
"""Kinds of failures of a port: of all of it, or of the addresses of one family, by which the key
is ``NAME ipv4`` or ``NAME ipv6``."""


class Failures:
    """Hold failures by object, each with its next try: 0.1 s, doubling up to 10 s."""

    FIRST_DELAY = 0.1
    LAST_DELAY = 10.0

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Failure] = {}
        self._due: dict[tuple[str, str], float] = {}
        self._counts: Counter[str] = Counter()
        self.total = 0

    def failed(self, kind: str, key: str, error: OSError, now: float) -> bool:
        """Record a failure; True if it is a new one or has a new reason (worth a log line)."""
        known = self._known.get((kind, key))
        self.total += 1
        self._counts[kind] += known is None
        tries = known.tries + 1 if known else 1
        since = known.since if known else now
        code = error.errno or 0
        words = error.strerror or str(error)
        self._known[kind, key] = Failure(kind, key, code, words, since, tries)
        self._due[kind, key] = now + self.delay(kind, key)
        return known is None or known.errno != code

    def report(self, log: Log, kind: str, key: str, error: OSError, now: float) -> None:
        """Record a failure, and log it if it is a new one or has a new reason."""
        if self.failed(kind, key, error, now):
            reason = error.strerror or str(error)
            log("error", "kernel_refused", {"kind": kind, "name": key, "reason": reason})

    def delay(self, kind: str, key: str) -> float:
        """Return seconds to wait before the next try."""
        known = self._known.get((kind, key))
        tries = known.tries if known else 10
        return min(self.FIRST_DELAY * float(1 << min(tries - 1, 10)), self.LAST_DELAY)

    def reason(self, kind: str, key: str) -> str:
        """Return why an object failed last, "" if it does not fail."""
        known = self._known.get((kind, key))
        return known.message if known else ""

    def count(self, kind: str) -> int:
        """Count the failing objects of a kind."""
        return self._counts[kind]

    def due(self, kind: str, key: str, now: float) -> bool:
        """Return True if the object failed and should be tried again."""
        due = self._due.get((kind, key))
        return due is not None and due <= now

    def cleared(self, kind: str, key: str) -> bool:
        """Forget a failure, because it was done or is no longer wanted; True if there was one."""
        self._due.pop((kind, key), None)
        was = self._known.pop((kind, key), None) is not None
        self._counts[kind] -= was
        return was

    def waiting(self, kind: str, key: str, now: float) -> bool:
        """Return True if the object failed and its next try is not due yet."""
        return self._due.get((kind, key), now) > now

    def hurry(self) -> None:
        """Retry all failures at once, because something changed in the kernel."""
        self._due = dict.fromkeys(self._due, 0.0)

    def next_due(self, but: Collection[str] = ()) -> float | None:
        """Return when the first retry is due of any kind but these, None if nothing failed."""
        times = (due for (kind, _), due in self._due.items() if kind not in but)
        return min(times, default=None)

    def all(self) -> tuple[Failure, ...]:
        """Return every failure, oldest first."""
        return tuple(sorted(self._known.values(), key=lambda f: (f.since, f.kind, f.key)))

    def __len__(self) -> int:
        return len(self._known)
