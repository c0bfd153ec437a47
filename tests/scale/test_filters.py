"""The packet filters: a change of one port loads what is that port's, however many there are.

Each change is made in a node with 10 ports and in one with 1,000. Counted are chains that are
rendered anew, operations, and instructions that are compiled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from controlplane.model.desired import Delta, Desired
from controlplane.model.prefix import parse_prefix
from pe.filters import core, edge
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.nft.compiler import RuleCompiler
from pe.nft.diff import Operation, transaction
from pe.nft.messages import messages
from pe.nft.model import Ruleset
from tests.scale.test_structure import LARGE, SMALL, layout, port

RENDERED = {edge: ("_ingress", "_egress", "_trunk"), core: ("_ingress", "_egress")}


def site(desired: Desired) -> None:
    """A port's site has other prefixes."""
    changed = msgspec.structs.replace(port(5), sources=(parse_prefix("10.5.0.0/16"),))
    desired.apply(Delta(ce_ports={"v5": changed}))


def moved(desired: Desired) -> None:
    """A port goes into another VRF."""
    desired.apply(Delta(ce_ports={"v5": msgspec.structs.replace(port(5), vrf="vrf6")}))


def gone(desired: Desired) -> None:
    """A port goes."""
    desired.apply(Delta(ce_ports={"v5": None}))


def nothing(_: Desired) -> None:
    """All is as it was."""


CHANGES = {"another site": site, "another VRF": moved, "a port goes": gone, "nothing": nothing}


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the chains that are rendered and not remembered, by what renders them."""
    counted = Counter[str]()

    def counting(name: str, inner: Callable[..., object]) -> Callable[..., object]:
        def render(*arguments: object, **named: object) -> object:
            counted[name] += 1
            return inner(*arguments, **named)

        return render

    for module, names in RENDERED.items():
        for name in names:
            inner = getattr(module, name).__wrapped__
            monkeypatch.setattr(module, name, cache(counting(name, inner)))
    return counted


def whole(desired: Desired) -> Ruleset:
    return ruleset(RenderContext(desired, {"lo", "trunk", "core0", *desired.ce_ports}))


def compiled(operations: list[Operation], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many instructions a transaction's rules have."""
    count = 0
    add = RuleCompiler.add

    def counting(rule: RuleCompiler, *expressions: object) -> None:
        nonlocal count
        count += len(expressions)
        add(rule, *expressions)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RuleCompiler, "add", counting)
        messages(operations)
    return count


def measured(
    size: int,
    change: Callable[[Desired], None],
    rendered: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Counter[str], int, int]:
    desired = Desired()
    desired.apply(layout(size))
    before = whole(desired)
    assert rendered["_ingress"] >= size
    change(desired)
    rendered.clear()
    operations = transaction(before, whole(desired))
    anew = Counter(rendered)
    return anew, len(operations), compiled(operations, monkeypatch)


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_loads_the_same_with_10_ports_and_with_1000(
    name: str, rendered: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = measured(SMALL, CHANGES[name], rendered, monkeypatch)
    rendered.clear()
    for module, names in RENDERED.items():
        for each in names:
            getattr(module, each).cache_clear()
    large = measured(LARGE, CHANGES[name], rendered, monkeypatch)
    assert large == small
    assert small[0]["_ingress"] <= 1
    assert (small[1] == 0) == (name == "nothing")


def test_the_count_sees_a_scan(rendered: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the first load is of every port."""
    counts = []
    for size in (SMALL, LARGE):
        desired = Desired()
        desired.apply(layout(size))
        counts.append(compiled(transaction({}, whole(desired)), monkeypatch))
    assert counts[1] > 50 * counts[0]
