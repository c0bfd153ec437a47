"""The first configuration of a large node, taken over in portions."""

from __future__ import annotations

from ipaddress import ip_address

from controlplane.model.attributes import Nlri
from controlplane.model.effects import Answer
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
from controlplane.model.label import LabelBlock
from controlplane.model.prefix import Family
from controlplane.model.rd import parse_rd
from controlplane.router import Router
from tests.unit.controlplane.rig import PE2, node, prefix, vpn_attributes, vrf


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
