"""Calls of the API by method and status, for the node's counters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import grpc

from controlplane.api.access.roles import RULES

OTHER = "other"
"""Stands for methods that are not served: callers do not make up label values."""


@dataclass(slots=True)
class RpcMetrics:
    """``calls`` has (``Service/Method``, ``PERMISSION_DENIED``) and the like as keys."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    audit_line: int = 0
    """The number of the last line of the audit log that this process wrote."""
    audit_failures: int = 0
    """Lines that could not be written."""

    def ended(self, method: str, code: grpc.StatusCode) -> None:
        """Count one call of ``/bulkhead.v1.Service/Method`` by how it ended."""
        name = method.rpartition(".")[2] if method in RULES else OTHER
        self.calls[name, code.name] += 1
