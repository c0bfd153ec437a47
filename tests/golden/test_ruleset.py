"""Whole rulesets, as nft gets them. After a change on purpose: ``python -m tests.golden.renew``."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.model.desired import Desired
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.model.guards import Guard
from pe.nft.diff import transaction
from pe.nft.text import text as listed
from tests.golden.founding import PRESENT, founding

HERE = Path(__file__).parent


def unlimited() -> Desired:
    """No VRF is tracked: not a word of connection tracking may be in the ruleset."""
    desired = founding()
    desired.vrfs["red"] = type(desired.vrfs["red"])("red", 16001)
    return desired


CASES = {
    "founding": RenderContext(founding(), PRESENT),
    "untracked": RenderContext(unlimited(), PRESENT),
    "no-ports-yet": RenderContext(founding(), {"lo"}),
    "guards-off": RenderContext(founding(), PRESENT, frozenset(Guard)),
    "under-policy": RenderContext(
        founding(), PRESENT, tracked=frozenset({"red", "blue"}), judged=frozenset({"red"})
    ),
    "spare-port": RenderContext(
        founding(), PRESENT, spare_ports=frozenset({"eth9"}), neighbours=16
    ),
    "bare-port": RenderContext(founding(), PRESENT, bare=frozenset({"ce-red"})),
    "tunnel-port": RenderContext(
        founding(), PRESENT, bare=frozenset({"ce-red"}), tunnels=frozenset({"ce-red"})
    ),
}


def text(case: str) -> str:
    return listed(transaction({}, ruleset(CASES[case])))


@pytest.mark.parametrize("case", CASES)
def test_the_ruleset_is_the_one_that_was_read_and_agreed_on(case: str) -> None:
    assert text(case) == (HERE / f"{case}.nft").read_text()


def test_without_limits_connection_tracking_is_not_even_switched_on() -> None:
    words = {word for line in text("untracked").splitlines() for word in line.split()}
    assert "ct" not in words
    assert "ct" in {word for line in text("founding").splitlines() for word in line.split()}


@pytest.mark.parametrize("bad", ['x"; flush ruleset; "', "a b", "x\ny", "", "a" * 16, "x;y", "{x}"])
def test_a_name_that_breaks_out_of_its_quotes_is_refused(bad: str) -> None:
    desired = founding()
    port = desired.ce_ports["ce-red"]
    desired.ce_ports[bad] = type(port)(bad, "red", 1, (), None)
    with pytest.raises(ValueError, match="cannot be the name"):
        ruleset(RenderContext(desired, {bad}))
