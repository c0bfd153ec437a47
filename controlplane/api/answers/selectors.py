"""Read selectors of requests."""

from __future__ import annotations

import grpc

from controlplane.api.access.details import field_refusal
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.selector import Selector, parse_selector


def read_selector(text: str, field: str = "selector") -> Selector | None:
    """Return a selector of a request; None where it is left out. Raises StatusError."""
    if not text:
        return None
    try:
        return parse_selector(text)
    except MalformedError as error:
        raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [(field, str(error))]) from None
