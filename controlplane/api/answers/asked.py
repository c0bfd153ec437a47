"""Refuse a request for what is not there, rather than answer that it is empty."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.access.status import denied, not_found
from controlplane.api.answers.policy_messages import seconds_of
from controlplane.model.name_list import those


def refuse_vrf(vrf: str, here: Collection[str]) -> None:
    """Refuse a VRF by name; one that the caller may not see before saying whether it exists."""
    if not vrf:
        return
    if not CALLER.get().may_see(vrf):
        raise denied(f"VRF {vrf} is not yours")
    if vrf not in here:
        raise not_found(f"there is no VRF {vrf!r}{those('VRFs', here)}")


class Spanning(Protocol):
    """A message with a span of time."""

    @property
    def since(self) -> Timestamp:
        """Its beginning."""
        ...

    @property
    def until(self) -> Timestamp:
        """Its end."""
        ...

    def HasField(self, field_name: str) -> bool:  # noqa: N802 - as protobuf has it
        """Return whether a field was given."""
        ...


def span_of(query: Spanning, place: str, now: float) -> tuple[float, float]:
    """Return the span of time of a request in seconds; left out, from 0 and until `now`.

    `place` stands before the name of the field, "" or "filter.".
    """
    since = seconds_of(query.since) if query.HasField("since") else 0.0
    until = seconds_of(query.until) if query.HasField("until") else now
    if since > until:
        text = (
            "is later than the end of the span" if query.HasField("until") else "is in the future"
        )
        raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [(f"{place}since", text)])
    return since, until
