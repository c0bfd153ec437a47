"""Select the flows that a caller asks for."""

from __future__ import annotations

import grpc
from bulkhead.v1 import flows_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.access.status import denied
from controlplane.api.answers.policy_messages import seconds_of
from controlplane.policy.compile.directory import Who
from controlplane.policy.insight.flowbook import Seen
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.service import Service, parse_service


class Filter:
    """A `FlowFilter`, read. Raises StatusError where it cannot be read or is not the caller's."""

    def __init__(self, query: pb.FlowFilter, answers: PolicyQueries) -> None:
        if query.vrf and not CALLER.get().may_see(query.vrf):
            raise denied(f"VRF {query.vrf} is not yours")
        self._wish = query
        self._caller = CALLER.get()
        self._answers = answers
        self._services = _services(query.service)
        self.since = seconds_of(query.since) if query.HasField("since") else 0.0
        self.until = seconds_of(query.until) if query.HasField("until") else float("inf")

    def passes(self, seen: Seen) -> bool:
        """Return whether one flow passes."""
        query = self._wish
        if not self._caller.may_see(seen.vrf) or query.vrf not in ("", seen.vrf):
            return False
        if query.HasField("allowed") and query.allowed != seen.enforced.allowed:
            return False
        if query.staged_differs and not differs(seen):
            return False
        if self._services and not any(s.covers(seen.protocol, seen.point) for s in self._services):
            return False
        who = self._answers.who
        return (not query.source or _is(who(seen.vrf, seen.source), query.source)) and (
            not query.destination or _is(who(seen.vrf, seen.destination), query.destination)
        )


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
