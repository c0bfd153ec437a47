"""Parse prefix lists: ``any``, or lines such as ``10.0.0.0/8 ge 16 le 24``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainValidator

from controlplane.model.intent import ACCEPT_ANY, Policy, PrefixRule
from controlplane.model.prefix import Prefix, parse_prefix
from pe.config.values import fault

_RULE_CURE = "write PREFIX, with 'ge LENGTH' and 'le LENGTH' if wanted: 10.0.0.0/8 ge 16 le 24"
_ORDER = re.compile(r"(\S+)(?:\s+ge\s+(\d{1,3}))?(?:\s+le\s+(\d{1,3}))?")


def parse_rule(text: str) -> PrefixRule:
    """Parse a line of a prefix list as routers do: ``ge`` alone extends to host routes.

    Raises ValueError if the lengths are not in order: prefix length <= ge <= le.
    """
    match = _ORDER.fullmatch(text.strip())
    if not match:
        raise ValueError(f"'{text}' is not a line of a prefix list")
    prefix = parse_prefix(match[1])
    ge = int(match[2]) if match[2] else prefix.length
    le = int(match[3]) if match[3] else prefix.afi.bits if match[2] else prefix.length
    if not prefix.length <= ge <= le <= prefix.afi.bits:
        bounds = f"{prefix.length} <= ge <= le <= {prefix.afi.bits}"
        raise ValueError(f"'{text}': the lengths must be in order, {bounds}")
    return PrefixRule(prefix, ge, le)


def read_policy(value: Any) -> Policy:
    """Parse ``any`` or a list of lines; a bare ``0.0.0.0/0`` or ``::/0`` is the default route."""
    if value == "any":
        return ACCEPT_ANY
    if value in (None, "none"):
        return Policy()
    lines = [value] if isinstance(value, str) and "/" in value else value
    if not isinstance(lines, list):
        raise fault("a policy is 'any', 'none' or a list of prefixes", _RULE_CURE)
    rules = [_read_line(line) for line in lines]
    named_default = any(rule.le == 0 for rule in rules)
    return Policy(tuple(rule for rule in rules if rule.le), default_route=named_default)


def _read_line(line: Any) -> PrefixRule:
    if not isinstance(line, str):
        raise fault("a line of a prefix list is one piece of text", _RULE_CURE)
    try:
        return parse_rule(line)
    except ValueError as error:
        raise fault(str(error), _RULE_CURE) from None


def read_sources(value: Any) -> tuple[Prefix, ...] | None:
    """Parse ``any`` (None: no list), or the prefixes that a packet may come from."""
    if value == "any":
        return None
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise fault("source-prefixes is 'any' or a list of prefixes", "such as [10.1.0.0/16]")
    try:
        return tuple(parse_prefix(line) for line in lines)
    except ValueError as error:
        raise fault(str(error), "write prefixes such as 10.1.0.0/16") from None


PolicyText = Annotated[Policy, PlainValidator(read_policy)]
Sources = Annotated[tuple[Prefix, ...] | None, PlainValidator(read_sources)]
