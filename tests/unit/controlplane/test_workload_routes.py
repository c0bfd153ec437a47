"""Identity travels with the route: what is sent, what is read, what a move does."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest

from controlplane.bgp.path import Path
from controlplane.model.peer import PeerId
from controlplane.model.workload import (
    RemoteEndpoint,
    StagedGroups,
    WorkloadAttached,
    WorkloadDetached,
    digest_31,
)
from controlplane.vpn.claims import DIGEST, NAME, Marking
from tests.unit.controlplane.rig import (
    PE2,
    PE3,
    Rig,
    ce_peer,
    node,
    pe_peer,
    port,
    prefix,
    targets,
    vrf,
)

CE = PeerId("red", ip_address("192.0.2.2"))
WEB = "10.1.0.5/32"


def attached(*groups: int, name: str = "web", moves: int = 0, at: str = WEB) -> WorkloadAttached:
    return WorkloadAttached(
        name=name, vrf="red", port="red-ce", prefixes=(prefix(at), prefix("2001:db8::5/128")),
        groups=frozenset(groups), moves=moves,
    )  # fmt: skip


def sent(rig: Rig, at: str = WEB) -> tuple[tuple[int, int, int], ...]:
    """The communities of a route that say groups."""
    found = rig.said(PE2, at).large_communities
    return tuple(c for c in found if c[1] & DIGEST != DIGEST)


def red() -> Rig:
    """VRF red: the hosts are on the link of one port, a CE is at the other one."""
    ports = (port("red-ce", "red", "198.51.100.1/30"), port("red-site", "red", "192.0.2.1/30"))
    ce = ce_peer("red", "192.0.2.2", port="red-site")
    return Rig(vrf("red", 1, ports=ports, neighbors=(ce,))).ready()


def remote(rig: Rig) -> dict[str, RemoteEndpoint | None]:
    return {str(p): c for told in rig.router.state.remote_endpoints for p, c in told.remote.items()}


def test_a_workload_is_announced_with_a_community_per_group() -> None:
    rig = red()
    rig.do(attached(101, 104))
    assert sent(rig) == ((65000, 1, 101), (65000, 1, 104))
    assert sent(rig, "2001:db8::5/128")[0] == (65000, 1, 101)
    assert rig.said(PE2, WEB).route_targets == targets("65000:1")
    assert rig.table("red")[WEB].device == "red-ce"


def test_digests_of_the_name_and_of_what_the_ids_mean_travel_too() -> None:
    rig = red()
    event = msgspec.structs.replace(attached(101), meanings=frozenset({7, 5}))
    rig.do(event)
    name = digest_31("web")
    carried = rig.said(PE2, WEB).large_communities
    assert carried == (
        (65000, 1, 101), (65000, 0xC0000001, 5), (65000, 0xC0000001, 7),
        (65000, 0xC0000001, NAME | name),
    )  # fmt: skip
    rig.vpn("10.8.0.1/32", large_communities=carried)
    wanted = RemoteEndpoint(frozenset({101}), "10.255.0.2", name=name, meanings=frozenset({5, 7}))
    assert remote(rig) == {"10.8.0.1/32": wanted}


def named(name: str) -> tuple[int, int, int]:
    return (65000, DIGEST | 1, NAME | digest_31(name))


def test_an_address_under_two_names_is_pending_until_one_is_withdrawn() -> None:
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2), pe_peer(PE3))).ready()
    rig.do(attached(101))
    rig.vpn(WEB, large_communities=((65000, 1, 102), named("db")), local_pref=150)
    conflict = RemoteEndpoint(None, conflict=("10.255.0.2", "here"))
    assert remote(rig) == {WEB: conflict}
    assert rig.table("red")[WEB].device == "red-ce", "the other PE must go on seeing our claim"
    assert "65000:1 " + WEB in rig.received_by(PE2)
    rig.vpn(WEB, large_communities=((65000, 1, 103), named("db")), local_pref=150)
    assert remote(rig) == {}
    rig.withdraw(PE2, WEB)
    assert remote(rig) == {WEB: None}
    # Between two other PEs it is the same.
    rig.do(WorkloadDetached("web"))
    rig.up(PE3)
    for number, peer in enumerate((PE2, PE3)):
        rig.underlay("10.0.0.2", to=f"{peer.address}/32")
        marks = ((65000, 1, 102), named(f"db{number}"))
        rig.vpn(WEB, peer=peer, rd=f"65001:{number}", large_communities=marks)
    assert remote(rig) == {WEB: RemoteEndpoint(None, conflict=("10.255.0.2", "10.255.0.3"))}
    rig.reload(node(vrf("blue", 2), peers=(pe_peer(PE2), pe_peer(PE3))))
    assert not rig.router.policy.state.population.remote, "nothing is left of a VRF that goes"
    assert not rig.router.policy.conflicts.addresses


def test_a_route_without_a_name_contradicts_nothing() -> None:
    """An earlier version sends none: its claim is taken for a move, as ever."""
    rig = red()
    rig.do(attached(101))
    rig.vpn(WEB, large_communities=((65000, 1, 102),), local_pref=150)
    assert remote(rig) == {WEB: RemoteEndpoint(frozenset({102}), "10.255.0.2", 50)}
    both = ((65000, 1, 102), named("db"), named("cache"))
    rig.vpn(WEB, large_communities=both, local_pref=150)
    assert rig.table("red")[WEB].address == PE2.address


def test_in_no_group_is_said_too() -> None:
    rig = red()
    rig.do(attached())
    assert sent(rig) == ((65000, 1, 0),)


def test_the_groups_of_a_staged_revision_travel_apart() -> None:
    rig = red()
    staged = StagedGroups(0xC0FFEE00, frozenset({7}))
    rig.do(msgspec.structs.replace(attached(101), staged=staged))
    carried = ((65000, 1, 101), (65000, 0x40000001, 0xC0FFEE00), (65000, 0x80000001, 7))
    assert sent(rig) == carried
    rig.vpn("10.8.0.1/32", large_communities=carried)
    wanted = RemoteEndpoint(frozenset({101}), "10.255.0.2", 0, staged)
    assert remote(rig) == {"10.8.0.1/32": wanted}
    rig.vpn("10.8.0.1/32", large_communities=(*carried, (65000, 0x40000001, 5)))
    assert remote(rig) == {"10.8.0.1/32": RemoteEndpoint(frozenset({101}), "10.255.0.2")}


def test_another_tag_is_another_announcement_and_nothing_in_the_kernel() -> None:
    rig = red()
    rig.do(attached(101))
    effects = rig.do(attached(102))
    assert sent(rig) == ((65000, 1, 102),)
    assert not effects.delta
    rig.do(attached(102))
    assert rig.is_silent


def test_detached_is_withdrawn() -> None:
    rig = red()
    rig.do(attached(101))
    rig.do(WorkloadDetached("web"))
    assert rig.received_by(PE2) == set()
    assert rig.table("red") == {}
    rig.do(WorkloadDetached("web"))
    assert rig.is_silent


def test_workloads_outlive_a_reload_and_come_with_their_vrf() -> None:
    rig = Rig(vrf("blue", 2)).ready()
    rig.do(attached(101))
    assert rig.received_by(PE2) == set()
    rig.reload(node(vrf("blue", 2), vrf("red", 1)))
    rig.port("red-ce")
    assert "65000:1 " + WEB in rig.received_by(PE2)
    rig.reload(node(vrf("red", 1, route_limit=5), segment_function=9))
    assert sent(rig) == ((65000, 9, 101),)


def test_a_ce_gives_itself_no_group() -> None:
    rig = red()
    rig.up(CE)
    rig.ce(CE, "10.7.0.1/32", large_communities=((65000, 1, 101), (64999, 1, 5)))
    assert rig.said(PE2, "10.7.0.1/32").large_communities == ((64999, 1, 5),)
    assert remote(rig) == {}
    rig.vpn("10.8.0.1/32", large_communities=((65000, 1, 101),))  # what a PE says does count
    assert remote(rig) == {"10.8.0.1/32": RemoteEndpoint(frozenset({101}), "10.255.0.2")}


def test_group_communities_are_not_advertised_to_a_ce() -> None:
    rig = red()
    rig.up(CE)
    rig.do(attached(101))
    assert rig.said(CE, WEB).large_communities == ()


def test_claims_follow_the_best_route() -> None:
    rig = red()
    rig.vpn("10.8.0.1/32", large_communities=((65000, 1, 101), (65000, 2, 7)))
    assert remote(rig) == {"10.8.0.1/32": RemoteEndpoint(frozenset({101}), "10.255.0.2")}
    rig.vpn("10.8.0.1/32", large_communities=((65000, 1, 0),))
    assert remote(rig) == {"10.8.0.1/32": RemoteEndpoint(frozenset(), "10.255.0.2")}
    rig.vpn("10.8.0.1/32", large_communities=((65000, 1, 0),))
    assert remote(rig) == {}
    rig.withdraw(PE2, "10.8.0.1/32")
    assert remote(rig) == {"10.8.0.1/32": None}


def test_a_later_move_wins_at_every_pe() -> None:
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2), pe_peer(PE3))).ready()
    rig.do(attached(101))
    assert rig.received_by(PE2)
    rig.vpn(WEB, large_communities=((65000, 1, 101),), local_pref=101)
    assert remote(rig) == {WEB: RemoteEndpoint(frozenset({101}), "10.255.0.2", 1)}
    assert rig.table("red")[WEB].address == PE2.address
    assert "65000:1 " + WEB not in rig.received_by(PE2)
    rig.do(attached(101, moves=2))  # and back
    assert remote(rig)[WEB] is None
    assert rig.table("red")[WEB].device == "red-ce"
    assert rig.said(PE2, WEB).local_pref == 102


def test_an_older_route_of_another_pe_does_not_win() -> None:
    rig = red()
    rig.do(attached(101, moves=1))
    rig.vpn(WEB, large_communities=((65000, 1, 102),))
    assert remote(rig) == {}
    assert rig.table("red")[WEB].device == "red-ce"


def test_leaks_carry_the_groups() -> None:
    blue = vrf("blue", 2, import_targets=vrf("red", 1).export_targets)
    rig = Rig(vrf("red", 1), blue).ready()
    rig.do(attached(101))
    told = [c for c in rig.router.state.remote_endpoints if c.vrf == "blue"]
    wanted = RemoteEndpoint(frozenset({101}), name=digest_31("web"), meanings=frozenset())
    assert told[0].remote[prefix(WEB)] == wanted


def test_a_node_without_groups_never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path | None] = []
    real = Marking.claim

    def claim(self: Marking, path: Path | None) -> RemoteEndpoint | None:
        looked.append(path)
        return real(self, path)

    monkeypatch.setattr(Marking, "claim", claim)
    rig = red()
    rig.vpn("10.8.0.1/32", large_communities=((64999, 1, 5),))
    rig.vpn("10.8.0.2/32")
    assert looked == []
    rig.vpn("10.8.0.3/32", large_communities=((65000, 1, 5),))
    assert looked
