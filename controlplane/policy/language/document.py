"""Policy documents: text or plain values -> Policy, with every fault at once.

Unknown fields are faults, never ignored: a misspelt `servces` would otherwise open a rule to
every service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from controlplane.policy.language.service import Service, parse_service, sorted_services
from controlplane.policy.language.syntax import is_name

_T = TypeVar("_T")

_TOP = ("name", "groups", "networks", "services", "modes", "rules")


def parse_policy(text: str) -> Policy:
    """Read a YAML or JSON document; raises PolicyError with every problem and its line."""
    return _read(load(text))


def policy_from_value(value: Value) -> Policy:
    """Read a document that is already maps, lists and text (from an API); else parse_policy."""
    return _read(Located(value))


def _read(located: Located) -> Policy:
    fields = Fields(located)
    policy = _Document(fields).read(located.value)
    if fields.problems:
        raise PolicyError(sorted(fields.problems, key=lambda problem: (problem.line, problem.path)))
    return policy


class _Document:
    """Reads the sections in the order in which they refer to each other."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def read(self, value: Value) -> Policy:
        top = self._fields.mapping(value, "", _TOP)
        groups = self._named(top.get("groups"), "groups", self._group)
        networks = self._named(top.get("networks"), "networks", self._network)
        services = self._services(top.get("services"))
        self._shared_names(groups, networks)
        reader = RuleReader(self._fields, groups, networks, services)
        rules = reader.read(top.get("rules"))
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
            self._fields.fault(place, str(error))
            return None

    def _network(self, name: str, value: Value, path: str) -> NetworkSet:
        prefixes: set[Prefix] = set()
        for place, text in self._fields.texts(value, path):
            try:
                prefixes.add(parse_prefix(text))
            except ValueError as error:
                self._fields.fault(place, str(error), "write 192.0.2.0/24 or 2001:db8::/32")
        return NetworkSet(name, tuple(sorted(prefixes)))

    def _services(self, value: Value) -> dict[str, tuple[Service, ...]]:
        found: dict[str, tuple[Service, ...]] = {}

        def read(_name: str, item: Value, path: str) -> tuple[Service, ...]:
            before = len(self._fields.problems)
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
        for place, text in self._fields.texts(value, path):
            try:
                found.extend(parse_service(text, named))
            except MalformedError as error:
                self._fields.fault(place, str(error))
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
        return Modes(default, settings("vrfs"), by_group)

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
