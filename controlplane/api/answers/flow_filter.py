"""Select the flows that a caller asks for."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from bulkhead.v1 import flows_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.answers.asked import refuse_vrf, span_of
from controlplane.model.name_list import those
from controlplane.model.prefix import parse_address
from controlplane.policy.compile.directory import Who
from controlplane.policy.insight.flowbook import Seen
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.insight.view import View
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.service import Service, parse_service


class Filter:
    """A `FlowFilter`, read. Raises StatusError where it cannot be read or is not the caller's."""

    def __init__(self, query: pb.FlowFilter, answers: PolicyQueries) -> None:
        self._wish = query
        self._caller = CALLER.get()
        self._answers = answers
        self._services = _services(query.service)
        self.since, self.until = span_of(query, "filter.", float("inf"))
        self._source, self._destination = _normal(query.source), _normal(query.destination)

    def passes(self, seen: Seen) -> bool:
        """Return whether one flow passes."""
        query = self._wish
        if not self._caller.may_see(seen.vrf) or query.vrf not in ("", seen.vrf):
            return False
        if query.HasField("allowed") and query.allowed != seen.enforced.allowed:
            return False
        if query.logged and not seen.enforced.logged:
            return False
        if query.staged_differs and not differs(seen):
            return False
        if self._services and not any(s.covers(seen.protocol, seen.point) for s in self._services):
            return False
        if not self._source and not self._destination:
            return True
        source, destination = self._answers.ends(seen)
        return (not self._source or _is(source, self._source)) and (
            not self._destination or _is(destination, self._destination)
        )


def refuse_unknown(query: pb.FlowFilter, view: View, seen: Iterable[Seen]) -> None:
    """Refuse a filter that names what is not there and had no part in flows that were seen; not
    while a watch goes on, for then it may have gone."""
    refuse_vrf(query.vrf, view.vrfs)
    policy = view.queries.policy
    for field in ("source", "destination"):
        name = getattr(query, field)
        known = (policy.groups, policy.networks, view.population.attachments)
        if not name or _is_address(name) or any(name in each for each in known):
            continue
        if not any(
            name in held.names for s in seen for held in (s.source_held, s.destination_held)
        ):
            text = f"{name!r} is no workload, group or network set here, and no address"
            text += those("groups", policy.groups)
            raise field_refusal(grpc.StatusCode.NOT_FOUND, [(f"filter.{field}", text)])


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _normal(text: str) -> str:
    """Return an address as it is shown; names as they are."""
    return str(parse_address(text)) if _is_address(text) else text


def differs(seen: Seen) -> bool:
    """Return whether the staged revision would have treated a flow otherwise."""
    return seen.staged is not None and seen.staged.allowed != seen.enforced.allowed


def _is(who: Who, text: str) -> bool:
    names = {str(who.address), PolicyQueries.workload(who), *who.groups, *who.networks}
    return text in names


def _services(text: str) -> tuple[Service, ...]:
    try:
        return parse_service(text, {}) if text else ()
    except MalformedError as error:
        code = grpc.StatusCode.INVALID_ARGUMENT
        raise field_refusal(code, [("filter.service", str(error))]) from None
