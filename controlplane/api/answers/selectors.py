"""Read selectors of requests."""

from __future__ import annotations

import grpc

from controlplane.api.access.details import field_refusal
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.selector import Selector, parse_selector

LONGEST_SELECTOR = 32 << 10
"""Characters in a request."""


def read_selector(text: str, field: str = "selector") -> Selector | None:
    """Return a selector of a request; None where it is left out. Raises StatusError."""
    if not text:
        return None
    if len(text) > LONGEST_SELECTOR:
        what = f"{len(text)} characters, {LONGEST_SELECTOR} at most"
        raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [(field, what)])
    try:
        return parse_selector(text)
    except MalformedError as error:
        raise field_refusal(grpc.StatusCode.INVALID_ARGUMENT, [(field, str(error))]) from None
