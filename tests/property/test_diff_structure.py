"""From any state of the kernel the plan leads to the desired one, in an order without holes."""

from __future__ import annotations

import copy
from ipaddress import ip_address, ip_interface
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controlplane.model.desired import (
    CePort,
    CorePort,
    Desired,
    LabelBinding,
    Node,
    VrfDevice,
)
from controlplane.model.label import Label
from controlplane.model.prefix import Afi
from pe.devices.plan import plan
from pe.model.state import LastResort, Link, PortAddress, Rule, Structure
from pe.netlink.ownership import PORT_ALIAS, VRF_ALIAS
from tests.pe_fakes import FakeStructure

VRFS = ("red", "blue")
PORTS = ("p1", "p2", "p3")
ADDRESSES = tuple(map(ip_interface, ("192.0.2.1/30", "192.0.2.5/30", "2001:db8::1/64")))


@st.composite
def desired_states(draw: Any) -> Desired:
    desired = Desired(node=Node("pe1", (ip_address("10.0.0.1"),), draw(st.sampled_from((1, 9)))))
    for table, name in enumerate(draw(st.lists(st.sampled_from(VRFS), unique=True)), 10):
        desired.vrfs[name] = VrfDevice(name, draw(st.sampled_from((table, table + 10))))
    if desired.vrfs:
        for name in draw(st.lists(st.sampled_from(PORTS), unique=True)):
            desired.ce_ports[name] = draw(ce_ports(name, tuple(desired.vrfs)))
        for label in draw(st.lists(st.integers(16, 18), unique=True)):
            vrf = draw(st.sampled_from(tuple(desired.vrfs)))
            desired.labels[Label(label)] = LabelBinding(Label(label), vrf)
    desired.core_ports["core0"] = CorePort("core0", (ADDRESSES[0],))
    return desired


@st.composite
def ce_ports(draw: Any, name: str, vrfs: tuple[str, ...]) -> CePort:
    addresses = tuple(draw(st.lists(st.sampled_from(ADDRESSES), unique=True)))
    tagged = draw(st.booleans()) and name != "p1"
    return CePort(
        name,
        draw(st.sampled_from(vrfs)),
        1,
        addresses,
        None,
        parent="trunk" if tagged else "",
        vlan=draw(st.integers(1, 3)) if tagged else 0,
        mtu=draw(st.sampled_from((0, 1400))),
    )


@st.composite
def kernels(draw: Any) -> Structure:
    """Anything: a fresh machine, one of a former run, one that another process changed."""
    state = Structure()
    local = [Rule(afi, pref, 255) for afi in Afi for pref in (0,)]
    for rule in (*local, *draw(st.sets(st.sampled_from([Rule(a, 32765, 255) for a in Afi])))):
        state.put_rule(rule)
    for index, name in enumerate(("lo", "trunk", "core0", *PORTS), 1):
        if name in ("lo", "trunk") or draw(st.booleans()):
            state.put_link(Link(index, name, up=draw(st.booleans()), mtu=1500))
    for name in draw(st.lists(st.sampled_from(VRFS), unique=True)):
        table = draw(st.integers(10, 21))
        if all(link.table != table for link in state.links.values()):
            state.put_link(Link(50 + table, name, "vrf", True, alias=VRF_ALIAS, table=table))
    for name in PORTS:
        if name in state.links:
            state.put_link(draw(tinkered(state.links[name], state)))
    ours = draw(st.lists(st.sampled_from(ADDRESSES), unique=True))
    state.addresses = {
        port: frozenset(PortAddress(port, each, draw(st.booleans())) for each in ours)
        for port in state.links
    }
    state.last_resorts = {
        LastResort(afi, draw(st.integers(10, 21))) for afi in draw(st.lists(st.sampled_from(Afi)))
    }
    vrfs = [link.name for link in state.links.values() if link.kind == "vrf"]
    state.labels = {n: draw(st.sampled_from(vrfs)) for n in (16, 19) if vrfs}
    return state


@st.composite
def tinkered(draw: Any, link: Link, state: Structure) -> Link:
    vrfs = [other.name for other in state.links.values() if other.kind == "vrf"]
    master = draw(st.sampled_from(["", *vrfs]))
    if draw(st.booleans()) and link.name != "p1":
        return Link(
            link.index, link.name, "vlan", link.up, master=master, parent="trunk",
            alias=PORT_ALIAS, vlan=draw(st.integers(1, 3)),
        )  # fmt: skip
    return Link(link.index, link.name, "", link.up, master=master, mtu=1500)


def settle(desired: Desired, state: Structure, *, sweep: bool = True) -> FakeStructure:
    kernel = FakeStructure(copy.deepcopy(state))
    for _ in range(4):
        steps = plan(desired, kernel.state, sweep=sweep)
        if not steps:
            break
        for step in steps:
            kernel.perform(step.op)
    return kernel


def test_a_trunk_with_an_address_of_ours_is_not_moved_while_up() -> None:
    """Drawn once: the address is what a CE port left that never got into its VRF."""
    desired = Desired(
        node=Node("pe1", (ip_address("10.0.0.1"),), 1), vrfs={"red": VrfDevice("red", 10)},
        ce_ports={"p3": CePort("p3", "red", 1, (), None, "trunk", 1)},
    )  # fmt: skip
    ours = PortAddress("trunk", ADDRESSES[0], ours=True)
    state = Structure(links={"trunk": Link(2, "trunk")}, addresses={"trunk": frozenset({ours})})
    kernel = settle(desired, state)
    assert plan(desired, kernel.state) == []
    assert kernel.state.addresses["trunk"] == frozenset()
    assert kernel.state.links["trunk"].up


@settings(max_examples=30)
@given(desired_states(), kernels())
def test_the_plan_leads_to_what_is_desired_and_then_has_nothing_to_do(
    desired: Desired, state: Structure
) -> None:
    assume(not any(_has_our_name(port, state) for port in desired.ce_ports.values()))
    kernel = settle(desired, state)
    assert plan(desired, kernel.state) == []
    seen = kernel.state
    assert {n: x.table for n, x in seen.links.items() if x.kind == "vrf"} == {
        vrf.name: vrf.table for vrf in desired.vrfs.values()
    }
    for port in desired.ce_ports.values():
        if port.name in seen.links:
            link = seen.links[port.name]
            own = {a.interface for a in seen.addresses.get(port.name, ())}
            assert (link.master, link.up, link.vlan) == (port.vrf, True, port.vlan)
            assert own == set(port.addresses)
    assert seen.labels == {int(k): b.vrf for k, b in desired.labels.items()}


def _has_our_name(port: CePort, state: Structure) -> bool:
    """A foreign device has the name of a VLAN device that we should make."""
    link = state.links.get(port.name)
    return bool(link and port.vlan and link.kind != "vlan")


@settings(max_examples=30)
@given(desired_states(), desired_states())
def test_going_there_in_one_step_or_by_way_of_another_state_is_the_same(
    first: Desired, then: Desired
) -> None:
    fresh = Structure(
        links={n: Link(i, n) for i, n in enumerate(("lo", "trunk", "core0", "p1"), 1)},
        rules={Rule(afi, 0, 255): Rule(afi, 0, 255) for afi in Afi},
    )
    direct = settle(then, fresh).state
    detour = settle(then, settle(first, fresh).state).state
    # Settings of a port that is none any more are left as they are, and so is its MTU.
    for state in (direct, detour):
        state.links = {n: _shown(link) for n, link in state.links.items()}
        state.sysctls = {}
        # The first VRF's stay for good.
        state.rules = {rule: rule for rule in state.rules if not rule.l3mdev}
        state.addresses = {port: here for port, here in state.addresses.items() if here}
    assert direct == detour


def _shown(link: Link) -> Link:
    up = link.up or link.name in ("p1", "trunk")
    return Link(
        0,
        link.name,
        link.kind,
        up,
        up,
        link.master,
        link.parent,
        link.alias,
        0,
        link.table,
        link.vlan,
    )


@settings(max_examples=30)
@given(desired_states(), kernels())
def test_without_sweep_nothing_of_a_former_run_is_taken_away(
    desired: Desired, state: Structure
) -> None:
    assume(not any(_has_our_name(port, state) for port in desired.ce_ports.values()))
    kernel = settle(desired, state, sweep=False)
    strays = {n for n, x in state.links.items() if x.alias == VRF_ALIAS and n not in desired.vrfs}
    assert strays <= kernel.state.links.keys()
    assert state.last_resorts <= kernel.state.last_resorts
    assert state.labels.keys() - {16} <= kernel.state.labels.keys() | _remade(desired, state)


def _remade(desired: Desired, state: Structure) -> set[int]:
    """Labels that went with a VRF device which had to be made anew for another table."""
    wrong = {
        n for n, x in state.links.items() if n in desired.vrfs and desired.vrfs[n].table != x.table
    }
    return {label for label, vrf in state.labels.items() if vrf in wrong}
