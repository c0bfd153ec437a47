"""Compares observed flows with verdict tables."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.observed import Flow
from controlplane.policy.compile.reader import Reader


def forbidden(reader: Reader, flows: Iterable[Flow]) -> list[Flow]:
    """Return established flows (as they were opened) that the tables no longer allow: end these."""
    return [
        flow
        for flow in flows
        if not reader.verdict(flow.zone, flow.source, flow.destination, flow.packet).allowed
    ]
