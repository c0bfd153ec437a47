"""The first configuration of a large node, and large changes of it, taken over in portions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

import msgspec
import pytest

from controlplane.model.attributes import Nlri
from controlplane.model.effects import Answer, Effects
from controlplane.model.events import (
    IntentChanged,
    RoutesReceived,
    SessionUp,
    StoreWritten,
    TimePassed,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
    VrfsHeld,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import CorePortIntent, VrfIntent
from controlplane.model.label import Label, LabelBlock
from controlplane.model.prefix import Family
from controlplane.model.rd import parse_rd
from controlplane.router import Router
from controlplane.routing.portions import portions
from controlplane.routing.reload import AT_ONCE
from tests.unit.controlplane.rig import PE2, node, port, prefix, vpn_attributes, vrf

NOW = Instant(0.0, 0.0, BootTime("boot-1", 0.0))
BLOCK = LabelBlock(16000, 17999)


def _numbered(first: int, last: int, table: int = 0, **more: object) -> tuple[VrfIntent, ...]:
    return tuple(
        vrf(
            f"v{n}", n + 1, ports=(port(f"v{n}-ce", "192.0.2.1/30"),),
            table=table and table + n, **more,
        )
        for n in range(first, last)
    )  # fmt: skip


def _reloaded(
    router: Router, vrfs: Sequence[VrfIntent], ticket: int, block: LabelBlock = BLOCK
) -> list[Effects]:
    """Reload with these VRFs; return the turns."""
    wanted = node(*vrfs, label_block=block, sync_timeout=0)
    turns = [router.handle([IntentChanged(wanted, ticket=ticket)], NOW)]
    turns.append(router.handle([StoreWritten()], NOW))
    while router.is_taking_over:
        assert router.next_deadline is not None
        turns.append(router.handle([TimePassed()], NOW))
    return turns


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda old: (*old, *_numbered(300, 900)), id="added"),
        pytest.param(lambda old: old[:10], id="removed"),
        pytest.param(lambda _: _numbered(0, 300, route_limit=7), id="changed"),
        pytest.param(lambda _: _numbered(0, 300, table=5000), id="other tables"),
        pytest.param(
            lambda old: (*old[:10], *_numbered(10, 150, route_limit=7), *_numbered(300, 700)),
            id="all of these",
        ),
    ],
)
def test_a_large_reload_is_taken_over_in_portions(
    change: Callable[[tuple[VrfIntent, ...]], tuple[VrfIntent, ...]],
) -> None:
    """No turn does more than a bounded part, events wait until the last one, and the reload is
    answered when the kernel holds the VRFs of all of them."""
    router, old = Router(), _numbered(0, 300)
    _reloaded(router, old, 1)
    router.handle([VrfsHeld(router.state.pending.numbers)], NOW)
    wanted = change(old)
    touched = {v.name for v in {*old} ^ {*wanted}}
    turns = _reloaded(router, wanted, 2)
    assert len(turns) >= 3, "in one turn"
    for turn in turns:
        delta = turn.delta
        count = len({*delta.vrfs} | {p.removesuffix("-ce") for p in delta.ce_ports})
        assert count <= 2 * AT_ONCE
    assert list(router.vrfs) == [v.name for v in wanted]
    assert {name: v.intent for name, v in router.vrfs.items()} == {v.name: v for v in wanted}
    delta = turns[0].delta
    for turn in turns[1:]:
        delta.merge(turn.delta)
    assert {*delta.vrfs} <= touched
    assert {name for name, v in delta.vrfs.items() if v is None} == (
        {v.name for v in old} - {v.name for v in wanted}
    )
    numbers = router.state.pending.numbers
    assert {*numbers} <= touched
    answers = [a for turn in turns for a in turn.actions if isinstance(a, Answer)]
    if numbers:  # a route limit alone is nothing to the kernel
        assert not answers
        answers += [
            a for a in router.handle([VrfsHeld(numbers)], NOW).actions if isinstance(a, Answer)
        ]
    assert [a.ticket for a in answers] == [2]


def test_all_labels_change_in_portions() -> None:
    """No turn does more than a bounded part, and each VRF has one label all the while."""
    router, vrfs = Router(), _numbered(0, 300)
    _reloaded(router, vrfs, 1)
    turns = _reloaded(router, vrfs, 2, LabelBlock(20000, 20999))
    changed = [len(turn.delta.labels) for turn in turns if turn.delta.labels]
    assert len(changed) >= 3, "in one turn"
    assert max(changed) <= 2 * AT_ONCE
    assert sorted(vrf.label for vrf in router.vrfs.values()) == list(range(20000, 20300))


def test_no_portion_gives_two_vrfs_one_port_label_or_table() -> None:
    """Two VRFs change ports, two change labels, one takes the port of a VRF that goes."""
    old = _numbered(0, 11)
    ports = [v.ports for v in old]
    new = (
        msgspec.structs.replace(old[0], ports=ports[1]),
        msgspec.structs.replace(old[1], ports=ports[0]),
        old[2],
        msgspec.structs.replace(old[3], rd=old[4].rd),
        msgspec.structs.replace(old[4], rd=old[3].rd),
        msgspec.structs.replace(old[5], ports=ports[7]),
        old[6],
        msgspec.structs.replace(old[9], route_limit=7),
        msgspec.structs.replace(old[10], route_limit=7),
        *(msgspec.structs.replace(v, ports=ports[5]) for v in _numbered(11, 12)),
    )
    former, wanted = node(*old), node(*new)
    labels = {f"v{n}": Label(100 + n) for n in range(12)}
    exchanged = labels | {"v2": labels["v6"], "v6": labels["v2"]}
    present = [(v, labels[v.name]) for v in old]
    found = list(portions(former, present, wanted, exchanged, at_once=1))
    assert [len(p.intent.vrfs) for p in found] == [10, 9, 9, 9, 9, 9, 9, 10]
    assert found[-1].intent == wanted
    for portion in found:
        vrfs = portion.intent.vrfs
        taken = [
            (p.name for v in vrfs for p in v.ports),
            (v.rd for v in vrfs),
            (portion.labels[v.name] for v in vrfs),
        ]
        for values in map(list, taken):
            assert len(set(values)) == len(values), portion
    assert [p.removes for p in found] == [True] + [False] * 7


def test_a_port_that_passes_from_a_vrf_to_the_core_is_never_of_both() -> None:
    old = _numbered(0, 4)
    former = node(*old)
    mine = CorePortIntent(name=old[2].ports[0].name)
    changed = (*(msgspec.structs.replace(v, route_limit=7) for v in old[:2]), old[3])
    new = (*changed[:2], msgspec.structs.replace(old[2], ports=()), old[3])
    labels = {v.name: Label(100 + n) for n, v in enumerate(old)}
    present = [(v, labels[v.name]) for v in old]
    wanted = node(*new, core_ports=(*former.core_ports, mine))
    found = list(portions(former, present, wanted, labels, at_once=1))
    assert [mine in p.intent.core_ports for p in found] == [False, False, True]
    for portion in found:
        taken = {p.name for v in portion.intent.vrfs for p in v.ports}
        assert taken.isdisjoint(p.name for p in portion.intent.core_ports)


def test_a_large_first_configuration_is_taken_over_in_portions_before_anything_else() -> None:
    """What a former run left of the VRFs of a later portion is no leftover, and a peer's routes
    wait until the VRFs that import them are there."""
    names = [f"v{n}" for n in range(400)]
    wanted = node(
        *(vrf(name, n + 1) for n, name in enumerate(names)),
        label_block=LabelBlock(16000, 16999), sync_timeout=0,
    )  # fmt: skip
    router, ticket = Router(), 7
    nlri = [Nlri(prefix("10.9.0.0/16"), parse_rd("65001:400"), (300,))]
    routes = RoutesReceived(
        PE2, Family.IPV4_VPN, PE2.address, vpn_attributes("65000:400"), nlri
    )  # fmt: skip
    up = SessionUp(peer=PE2, families=frozenset({Family.IPV4_VPN}))
    now = Instant(0.0, 0.0, BootTime("boot-1", 0.0))
    path = UnderlayPath(ip_address("10.0.0.2"), "core0", (100,))
    router.handle([IntentChanged(wanted, ticket=ticket), UnderlaySynced()], now)
    turns = [router.handle([StoreWritten()], now)]
    router.handle([UnderlayRouteChanged(prefix("10.255.0.2/32"), (path,), 10), up, routes], now)
    while router.is_taking_over:
        assert not turns[-1].in_sync
        assert prefix("10.9.0.0/16") not in router.vrfs[names[0]].table.best
        assert router.next_deadline is not None
        turns.append(router.handle([TimePassed()], now))
    assert len(turns) > 1
    assert turns[-1].in_sync, "the control: its timer is over"
    assert list(router.vrfs) == names
    assert prefix("10.9.0.0/16") in router.vrfs[names[-1]].table.best
    numbers = router.state.pending.numbers
    assert not [a for turn in turns for a in turn.actions if isinstance(a, Answer)]
    actions = router.handle([VrfsHeld(numbers)], now).actions
    assert [a.ticket for a in actions if isinstance(a, Answer)] == [ticket]
