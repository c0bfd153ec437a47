"""Policy documents: text or plain values -> Policy, with every fault at once.

Unknown fields are faults, never ignored: a misspelt `servces` would otherwise open a rule to
every service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.policy.language.fields import Fields
from controlplane.policy.language.policy import (
    MAX_GROUP_ID,
    Group,
    Mode,
    Modes,
    ModeSetting,
    NetworkSet,
    Policy,
    derived_group_id,
)
from controlplane.policy.language.positions import Located, Value, child, load
from controlplane.policy.language.problem import MalformedError, PolicyError
from controlplane.policy.language.rulebook import RuleReader
from controlplane.policy.language.selector import parse_selector
from controlplane.policy.language.service import (
    Service,
    is_reserved,
    parse_service,
    sorted_services,
)
from controlplane.policy.language.syntax import is_name

_T = TypeVar("_T")

_MAPPED = parse_prefix("::ffff:0:0/96")
"""IPv4-mapped addresses (RFC 4291, 2.5.5.2): they live in programs, not in packets."""
_LEADING_ZERO = re.compile(r"/0[0-9]")

_TOP = ("name", "groups", "networks", "services", "modes", "rules")


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was read. `lines` are those of groups, network sets, modes and rules by their
    path, a rule's being `rules.` with its id. `is_empty`: it says nothing, not even a mode."""

    policy: Policy
    lines: Mapping[str, int]
    is_empty: bool


def parse_policy(text: str) -> Policy:
    """Read a YAML or JSON document; raises PolicyError with every problem and its line."""
    return parse_document(text).policy


def parse_document(text: str) -> Document:
    """As parse_policy, with what only the text knows."""
    located = load(text)
    reader = _Reader(Fields(located))
    policy = reader.read(located.value)
    places = {f"rules.{rule}": located.lines[path] for rule, path in reader.rules.items()}
    sections = located.value if isinstance(located.value, dict) else {}
    is_empty = policy.is_empty and not sections.get("modes")
    return Document(policy, located.lines | places, is_empty)


def policy_from_value(value: Value) -> Policy:
    """Read a document that is already maps, lists and text (from the store)."""
    return _Reader(Fields(Located(value))).read(value)


class _Reader:
    """Reads the sections in the order in which they refer to each other.

    `rules` are the paths of the rules in the document by their ids.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.rules: Mapping[str, str] = {}

    def read(self, value: Value) -> Policy:
        """Return the policy; raises PolicyError with every problem."""
        policy = self._policy(value)
        if problems := self._fields.problems:
            raise PolicyError(sorted(problems, key=lambda problem: (problem.line, problem.path)))
        return policy

    def _policy(self, value: Value) -> Policy:
        top = self._fields.mapping(value, "", _TOP)
        groups = self._named(top.get("groups"), "groups", self._group)
        networks = self._named(top.get("networks"), "networks", self._network)
        services = self._services(top.get("services"))
        self._shared_names(groups, networks)
        reader = RuleReader(self._fields, groups, networks, services)
        rules = reader.read(top.get("rules"))
        self.rules = reader.places
        self._ids_differ({**groups, **reader.implicit})
        modes = self._modes(top.get("modes"), groups, services)
        name = self._fields.text(top.get("name", ""), "name")
        return Policy({**groups, **reader.implicit}, networks, modes, rules, name)

    def _named(
        self, value: Value, path: str, read: Callable[[str, Value, str], _T | None]
    ) -> dict[str, _T]:
        found: dict[str, _T] = {}
        for name, item in self._fields.mapping(value, path).items():
            place = child(path, name)
            if not is_name(name):
                self._fields.fault(
                    place, f"{name!r} is no name", "a-z first, then a-z 0-9 _ . -; no keyword"
                )
            elif (made := read(name, item, place)) is not None:
                found[name] = made
        return found

    def _group(self, name: str, value: Value, path: str) -> Group | None:
        if isinstance(value, str):
            value = {"selector": value}
        entry = self._fields.mapping(value, path, ("id", "selector"))
        number = self._fields.integer(
            entry.get("id", derived_group_id(name)), child(path, "id"), 1, MAX_GROUP_ID
        )
        if "selector" not in entry:
            self._fields.fault(path, "no selector", "add selector: env=prod")
            return None
        place = child(path, "selector")
        text = self._fields.text(entry["selector"], place)
        try:
            return Group(name, number, parse_selector(text))
        except MalformedError as error:
            self._fields.malformed(place, error)
            return None

    def _network(self, name: str, value: Value, path: str) -> NetworkSet:
        prefixes: set[Prefix] = set()
        before = len(self._fields.problems)
        for place, text in self._fields.words(value, path):
            try:
                prefixes.add(_on_the_wire(text))
            except ValueError as error:
                self._fields.fault(place, str(error), "write 192.0.2.0/24 or 2001:db8::/32")
        if not prefixes and len(self._fields.problems) == before:
            self._fields.fault(path, "names no prefix", "add one, such as 192.0.2.0/24")
        return NetworkSet(name, tuple(sorted(prefixes)))

    def _services(self, value: Value) -> dict[str, tuple[Service, ...]]:
        found: dict[str, tuple[Service, ...]] = {}

        def read(name: str, item: Value, path: str) -> tuple[Service, ...]:
            before = len(self._fields.problems)
            if is_reserved(name):
                what = f"{name!r} is a protocol or an ICMP type already"
                self._fields.fault(path, what, f"call it my-{name}")
            services = self._service_list(item, path, {})
            if not services and len(self._fields.problems) == before:
                # A rule on it would have no services, which does not read back as a rule.
                self._fields.fault(path, "names no service", "add one, such as tcp/443")
            return services

        found.update(self._named(value, "services", read))
        return found

    def _service_list(
        self, value: Value, path: str, named: Mapping[str, tuple[Service, ...]]
    ) -> tuple[Service, ...]:
        found: list[Service] = []
        for place, text in self._fields.words(value, path):
            try:
                found.extend(parse_service(text, named))
            except MalformedError as error:
                self._fields.malformed(place, error)
        return sorted_services(found)

    def _shared_names(
        self, groups: Mapping[str, Group], networks: Mapping[str, NetworkSet]
    ) -> None:
        for name in sorted(groups.keys() & networks.keys()):
            self._fields.fault(
                child("networks", name), "a group has this name too", "a rule could mean either"
            )

    def _ids_differ(self, groups: Mapping[str, Group]) -> None:
        owners: dict[int, str] = {}
        for name, group in groups.items():
            if (owner := owners.setdefault(group.id, name)) != name:
                self._fields.fault(
                    child("groups", name),
                    f"id {group.id} belongs to group {owner!r} already",
                    "declare the group with an id of its own",
                )

    def _modes(
        self,
        value: Value,
        groups: Mapping[str, Group],
        services: Mapping[str, tuple[Service, ...]],
    ) -> Modes:
        top = self._fields.mapping(value, "modes", ("default", "vrfs", "groups"))

        def settings(section: str) -> dict[str, ModeSetting]:
            place = child("modes", section)
            entries = self._fields.mapping(top.get(section), place)
            return {k: self._mode(v, child(place, k), services) for k, v in entries.items()}

        default = self._mode(top.get("default", "visibility"), "modes.default", services)
        by_group = settings("groups")
        for name in by_group.keys() - groups.keys():
            self._fields.unknown(child("modes.groups", name), "group", name, groups)
        by_vrf = settings("vrfs")
        for name in by_vrf:
            self._fields.vrf_name(child("modes.vrfs", name), name)
        return Modes(default, by_vrf, by_group)

    def _mode(
        self, value: Value, path: str, services: Mapping[str, tuple[Service, ...]]
    ) -> ModeSetting:
        if isinstance(value, str):
            value = {"mode": value}
        entry = self._fields.mapping(value, path, ("mode", "services"))
        mode = self._fields.choice(entry.get("mode"), child(path, "mode"), Mode)
        if mode is None:
            return ModeSetting()
        place = child(path, "services")
        found = self._service_list(entry.get("services"), place, services)
        if mode is Mode.SELECTIVE and not entry.get("services"):
            self._fields.fault(path, "selective needs services", "add services: [tcp/22]")
        if mode is not Mode.SELECTIVE and "services" in entry:
            self._fields.fault(place, f"{mode} takes no services", "use mode: selective")
        return ModeSetting(mode, found)


def _on_the_wire(text: str) -> Prefix:
    """Return a prefix that packets can match. Raises ValueError."""
    if _LEADING_ZERO.search(text):
        raise ValueError(f"{text!r} has a prefix length with leading zeros")
    prefix = parse_prefix(text)
    if _MAPPED.contains(prefix):
        plain = Prefix(prefix.packed[12:], prefix.length - 96)
        raise ValueError(
            f"{text!r} is IPv4 inside IPv6, which no packet carries; did you mean {plain}?"
        )
    return prefix
