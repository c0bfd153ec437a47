"""The `rules` of a document: sentences and structured rules -> Rule, in order.

`rules` is a map of tiers to lists, or one list (tier `application` unless a rule says
otherwise). A rule without `order` gets ten times its place in its list, starting at 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.policy.language.fields import Fields
from controlplane.policy.language.policy import Group, NetworkSet, derived_group_id
from controlplane.policy.language.positions import Value, child
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.rule import (
    Action,
    Rule,
    RuleEndpoint,
    RuleEndpointKind,
    Tier,
    sorted_endpoints,
)
from controlplane.policy.language.selector import text_of
from controlplane.policy.language.sentence import Sentence, Term, parse_sentence, parse_terms
from controlplane.policy.language.service import Service, parse_service, sorted_services
from controlplane.policy.language.syntax import is_name

ORDER_STEP = 10
MAX_ORDER = 1_000_000
MOST_RULES = 10_000
"""In one document: reading them takes two or three seconds (security requirement MGMT-4)."""
_PARTS = ("action", "from", "to", "services", "vrfs")
_FIELDS = ("name", "tier", "order", "comment", "rule", *_PARTS)


class RuleReader:
    """Reads rules against the declared groups, network sets and services.

    `implicit` collects the groups that selectors inside rules make, `places` the paths of the
    rules in the document by their ids.
    """

    def __init__(
        self,
        fields: Fields,
        groups: Mapping[str, Group],
        networks: Mapping[str, NetworkSet],
        services: Mapping[str, tuple[Service, ...]],
    ) -> None:
        self._fields = fields
        self._groups = groups
        self._networks = networks
        self._services = services
        self._by_selector = {text_of(group.selector): name for name, group in groups.items()}
        self.implicit: dict[str, Group] = {}
        self.places: dict[str, str] = {}

    def read(self, value: Value) -> tuple[Rule, ...]:
        """Return all rules in the order of evaluation; faults go to the Fields."""
        placed: list[tuple[str, Rule]] = []
        lists = list(self._lists(value))
        count = sum(len(items) for _, items, _ in lists if isinstance(items, list))
        if count > MOST_RULES:
            cure = "say it with groups, network sets and lists of services"
            self._fields.fault("rules", f"{count} rules, {MOST_RULES} at most", cure)
            return ()
        for path, items, tier in lists:
            for index, (place, item) in enumerate(self._fields.items(items, path)):
                rule = self._rule(item, place, tier, (index + 1) * ORDER_STEP)
                if rule is not None:
                    placed.append((place, rule))
        self._refuse_equals(placed)
        self.places = {rule.id: place for place, rule in placed}
        return tuple(sorted((rule for _, rule in placed), key=lambda rule: rule.rank))

    def _lists(self, value: Value) -> Iterable[tuple[str, Value, Tier | None]]:
        if not isinstance(value, dict):
            return [("rules", value, None)]
        known = [tier.value for tier in Tier]
        entries = self._fields.mapping(value, "rules", known)
        return [(child("rules", t), entries[t], Tier(t)) for t in known if t in entries]

    def _refuse_equals(self, placed: list[tuple[str, Rule]]) -> None:
        ranks: dict[tuple[int, int], str] = {}
        ids: dict[str, str] = {}
        for path, rule in placed:
            if (other := ranks.setdefault(rule.rank, path)) != path:
                message = f"order {rule.order} in tier {rule.tier} is taken by {other}"
                self._fields.fault(path, message, "give each rule of a tier its own order")
            elif (other := ids.setdefault(rule.id, path)) != path:
                self._fields.fault(path, f"the name {rule.id!r} is taken by {other}", "rename one")

    def _rule(self, value: Value, path: str, tier: Tier | None, order: int) -> Rule | None:
        if isinstance(value, str):
            value = {"rule": value}
        entry = self._fields.mapping(value, path, _FIELDS)
        said = self._sentence(entry, path)
        chosen = self._tier(entry, path, tier)
        number = self._fields.integer(entry.get("order", order), child(path, "order"), 0, MAX_ORDER)
        if said is None or chosen is None:
            return None
        name = self._name(entry, path) or f"{chosen}/{number}"
        comment = self._fields.text(entry.get("comment", ""), child(path, "comment"))
        return Rule(
            name,
            chosen,
            number,
            said.action,
            self._endpoints(said.sources, _place(entry, path, "from")),
            self._endpoints(said.destinations, _place(entry, path, "to")),
            self._service_list(said.services, _place(entry, path, "services")),
            self._vrfs(said.vrfs, _place(entry, path, "vrfs")),
            comment,
        )

    def _name(self, entry: dict[str, Value], path: str) -> str:
        if "name" not in entry:
            return ""
        name = self._fields.text(entry["name"], child(path, "name"))
        if name and not is_name(name):
            self._fields.fault(child(path, "name"), f"{name!r} is no name", "a-z 0-9 _ . -")
        return name

    def _tier(self, entry: dict[str, Value], path: str, tier: Tier | None) -> Tier | None:
        if "tier" not in entry:
            return tier or Tier.APPLICATION
        chosen = self._fields.choice(entry["tier"], child(path, "tier"), Tier)
        if tier is not None and chosen not in (None, tier):
            self._fields.fault(child(path, "tier"), f"this list is tier {tier}", "move the rule")
        return chosen

    def _sentence(self, entry: dict[str, Value], path: str) -> Sentence | None:
        if "rule" not in entry:
            return self._structured(entry, path)
        doubled = [part for part in _PARTS if part in entry]
        if doubled:
            cure = "say it in the sentence or in fields, not in both"
            self._fields.fault(path, f"both a sentence and {', '.join(doubled)}", cure)
        place = child(path, "rule") if self._fields.has(child(path, "rule")) else path
        text = self._fields.text(entry["rule"], place)
        try:
            return parse_sentence(text)
        except MalformedError as error:
            self._fields.malformed(place, error)
            return None

    def _structured(self, entry: dict[str, Value], path: str) -> Sentence | None:
        missing = [part for part in ("action", "from", "to") if part not in entry]
        if missing:
            cure = "write a sentence, or action, from and to; from: any is said, not assumed"
            self._fields.fault(path, f"no {', '.join(missing)}", cure)
            return None
        action = self._fields.choice(entry["action"], child(path, "action"), Action)
        sources = self._terms(entry, path, "from")
        destinations = self._terms(entry, path, "to")
        services = self._some(entry, path, "services", ("any",))
        vrfs = self._some(entry, path, "vrfs", ())
        if action is None or not sources or not destinations:
            return None
        return Sentence(action, sources, destinations, services, vrfs)

    def _terms(self, entry: dict[str, Value], path: str, key: str) -> tuple[Term, ...]:
        place = child(path, key)
        before = len(self._fields.problems)
        found: list[Term] = []
        for where, text in self._fields.texts(entry[key], place):
            try:
                found.extend(parse_terms(text))
            except MalformedError as error:
                self._fields.malformed(where, error)
        if not found and len(self._fields.problems) == before:
            self._fields.fault(place, "names no endpoint", "name a group, or any")
        return tuple(found)

    def _some(
        self, entry: dict[str, Value], path: str, key: str, default: tuple[str, ...]
    ) -> tuple[str, ...]:
        if key not in entry:
            return default
        place = child(path, key)
        before = len(self._fields.problems)
        found = tuple(text for _, text in self._fields.words(entry[key], place))
        if not found and len(self._fields.problems) == before:
            # An empty list must not quietly become "everything".
            self._fields.fault(place, "is empty", "leave the field out to mean all")
        return found

    def _endpoints(self, terms: tuple[Term, ...], path: str) -> tuple[RuleEndpoint, ...]:
        implicit: dict[str, Group] = {}
        found = sorted_endpoints(self._endpoint(term, path, implicit) for term in terms)
        # Those that `any` swallowed are not in the canonical form, and would come and go with it.
        self.implicit |= {e.name: implicit[e.name] for e in found if e.name in implicit}
        return found

    def _endpoint(self, term: Term, path: str, implicit: dict[str, Group]) -> RuleEndpoint:
        if not isinstance(term, str):
            text = text_of(term)
            name = self._by_selector.get(text, text)
            if name == text:
                implicit[text] = Group(text, derived_group_id(text), term, implicit=True)
            return RuleEndpoint(RuleEndpointKind.GROUP, name)
        if term in ("any", "workloads", "outside"):
            return RuleEndpoint(RuleEndpointKind(term))
        if term in self._networks:
            return RuleEndpoint(RuleEndpointKind.NETWORK, term)
        if term not in self._groups:
            known = [*self._groups, *self._networks]
            self._fields.unknown(path, "group or network", term, known)
        return RuleEndpoint(RuleEndpointKind.GROUP, term)

    def _vrfs(self, names: tuple[str, ...], path: str) -> frozenset[str]:
        for name in names:
            self._fields.vrf_name(path, name)
        return frozenset(names)

    def _service_list(self, texts: tuple[str, ...], path: str) -> tuple[Service, ...]:
        found: list[Service] = []
        for text in texts:
            try:
                found.extend(parse_service(text, self._services))
            except MalformedError as error:
                self._fields.malformed(path, error)
        return sorted_services(found)


def _place(entry: dict[str, Value], path: str, key: str) -> str:
    return child(path, key) if key in entry else path
