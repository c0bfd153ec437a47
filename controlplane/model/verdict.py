"""Verdicts: allowed or not, and by which rule, small enough for a map's value."""

from __future__ import annotations

from typing import NamedTuple

RULE_BITS = 20
ALLOW_BIT = 1 << 31
LOG_BIT = 1 << 30
OLDER_BIT = 1 << 29
"""Beside a verdict: its flow was not seen from its beginning."""
EPOCH_SHIFT, EPOCHS = RULE_BITS, 64
"""Of the mark of a connection: how often the enforced tables had been replaced, modulo EPOCHS, when
it was judged."""
EPOCH_MASK = (EPOCHS - 1) << EPOCH_SHIFT
RULE_MASK = (1 << RULE_BITS) - 1
FIRST_RULE = 64
"""Numbers below are those of the defaults; rules of a policy are numbered from here."""
BY_RULE_MASK = RULE_MASK & ~(FIRST_RULE - 1)
"""Of a word: not zero if a rule decided, and not a default."""


class Verdict(NamedTuple):
    """What becomes of a new flow. `logs` are the numbers of log rules that it met, in order."""

    allowed: bool
    rule: int
    logs: tuple[int, ...] = ()

    @property
    def word(self) -> int:
        """32 bits for a mark: allow, log, rule number; never 0, so 0 can mean undecided."""
        log = LOG_BIT if self.logs else 0
        return (ALLOW_BIT if self.allowed else 0) | log | self.rule

    @property
    def is_allowed_by_rule(self) -> bool:
        """True if a rule allows, and not a default."""
        return self.allowed and self.rule >= FIRST_RULE


BY_VISIBILITY = Verdict(True, 1)
BY_FULL = Verdict(False, 2)
BY_SELECTIVE = Verdict(False, 3)
BY_PENDING = Verdict(False, 4)
BY_MALFORMED = Verdict(False, 5)
BY_ZONE = Verdict(False, 6)

DEFAULT_IDS = {
    BY_VISIBILITY.rule: "default/visibility",
    BY_FULL.rule: "default/full",
    BY_SELECTIVE.rule: "default/selective",
    BY_PENDING.rule: "default/pending",
    BY_MALFORMED.rule: "default/malformed",
    BY_ZONE.rule: "default/zone",
}
"""What the numbers below FIRST_RULE are called in flows, logs and explanations."""
