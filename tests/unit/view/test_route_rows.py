"""``pe show routes``: ``*`` is in the kernel; every other path says why it is not."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.services.messages import route
from controlplane.model.prefix import Family, Prefix
from controlplane.model.route_view import ForeignRouteView, RouteFilter, RouteSource, RouteView
from pe.cli.plain import plain
from pe.cli.routes import details, listing
from pe.view.absence import absence
from pe.view.routes import route_rows
from tests.unit.controlplane.rig import PE2, PE3, Rig, pe_peer, prefix, static, vrf


class Kernel:
    """Has every route but those that it refuses, and those that are under way."""

    def __init__(self, refused: dict[str, str] | None = None, late: str = "") -> None:
        self.refused, self.late = refused or {}, late
        self.foreign: list[ForeignRouteView] = []

    def has_route(self, _table: int, prefix: Prefix) -> bool:
        return str(prefix) not in (*self.refused, self.late)

    def route_refusal(self, _table: int, prefix: Prefix) -> str:
        return self.refused.get(str(prefix), "")

    def foreign_routes(self, table: int) -> list[ForeignRouteView]:
        del table
        return self.foreign


def two_pes() -> Rig:
    rig = Rig(
        vrf("red", 1, static_routes=(static("10.9.0.0/16", "192.0.2.2"),)),
        peers=(pe_peer(PE2), pe_peer(PE3)),
    ).ready()
    rig.underlay("10.0.1.3", to="10.255.0.3/32", metric=20)
    rig.up(PE3)
    rig.vpn("10.1.0.0/16", peer=PE2, rd="65001:2")
    rig.vpn("10.1.0.0/16", peer=PE3, rd="65001:3")
    rig.vpn("10.2.0.0/16", peer=PE2, next_hop="10.255.0.77")
    return rig


def rows(rig: Rig, kernel: Kernel, prefix: str) -> list[RouteView]:
    wanted = RouteFilter(vrf="red", prefix=prefix, all_paths=True)
    return list(route_rows(rig.router, kernel, wanted, rig.now))


def reasons(rig: Rig, kernel: Kernel, prefix: str) -> list[tuple[bool, bool, str]]:
    return [(row.best, row.active, row.inactive_reason) for row in rows(rig, kernel, prefix)]


def test_the_path_in_the_kernel_is_active_and_another_says_at_which_step_it_lost() -> None:
    assert reasons(two_pes(), Kernel(), "10.1.0.0/16") == [
        (True, True, ""), (False, False, "not best: IGP metric"),
    ]  # fmt: skip


def test_a_best_path_that_the_kernel_refuses_is_not_active() -> None:
    kernel = Kernel({"10.1.0.0/16": "No space left on device"})
    assert reasons(two_pes(), kernel, "10.1.0.0/16")[0] == (
        True, False, "the kernel refuses it: No space left on device",
    )  # fmt: skip


def test_a_best_path_on_its_way_to_the_kernel_is_not_active_yet() -> None:
    found = reasons(two_pes(), Kernel(late="10.1.0.0/16"), "10.1.0.0/16")
    assert found[0] == (True, False, "not in the kernel yet")


def test_a_path_without_a_way_says_so() -> None:
    found = reasons(two_pes(), Kernel(), "10.2.0.0/16")
    assert found == [(False, False, "no route to the next hop")]


def test_a_static_route_by_a_port_that_is_down() -> None:
    rig = two_pes()
    assert reasons(rig, Kernel(), "10.9.0.0/16") == [(True, True, "")]
    rig.port("red-ce", up=False)
    assert reasons(rig, Kernel(), "10.9.0.0/16") == [(False, False, "port red-ce is down")]


def test_a_links_own_prefix_is_the_kernels() -> None:
    everything_refused = Kernel({"192.0.2.0/30": "ENOSPC"})
    assert reasons(two_pes(), everything_refused, "192.0.2.0/30") == [(True, True, "")]


def test_every_attribute_is_shown() -> None:
    rig = two_pes()
    rig.vpn(
        "10.3.0.0/16", peer=PE2, rd="65001:2", extended=("0x030b000000000064",),
        atomic_aggregate=True, aggregator="65001:192.0.2.1", originator_id="10.255.0.9",
        cluster_list=("10.255.0.4", "10.255.0.5"), unknown=((0xE0, 32, b"\x01\x02"),),
    )  # fmt: skip
    (row,) = rows(rig, Kernel(), "10.3.0.0/16")
    assert row.extended_communities == ("0x030b000000000064",)
    assert (row.atomic_aggregate, row.aggregator) == (True, "65001:192.0.2.1")
    assert (row.originator_id, row.cluster_list) == ("10.255.0.9", ("10.255.0.4", "10.255.0.5"))
    assert row.unknown_attributes == ("32 (flags 0xe0): 0102",)
    shown = "\n".join(details([route(row)]))
    for value in ("0x030b000000000064", "10.255.0.9", "10.255.0.4 10.255.0.5", "0xe0): 0102"):
        assert value in shown


def test_a_route_is_stale_until_it_is_announced_again_or_end_of_rib() -> None:
    rig = two_pes()

    def stale() -> list[str]:
        wanted = RouteFilter(vrf="red", all_paths=True, neighbor=str(PE2.address))
        found = route_rows(rig.router, Kernel(), wanted, rig.now)
        return [row.prefix for row in found if row.stale]

    rig.down(PE2)
    rig.up(PE2, restart_time=120)
    rig.vpn("10.1.0.0/16", "10.2.0.0/16", peer=PE2, rd="65001:2")
    assert not stale()
    rig.down(PE2, graceful=True)
    assert stale() == ["10.1.0.0/16", "10.2.0.0/16"]
    rig.up(PE2, restart_time=120, forwarding=frozenset({Family.IPV4_VPN}))
    assert stale() == ["10.1.0.0/16", "10.2.0.0/16"], "the session is up, its routes are not here"
    rig.vpn("10.1.0.0/16", peer=PE2, rd="65001:2")
    assert stale() == ["10.2.0.0/16"]


@pytest.mark.parametrize(("asked", "longer", "there"), [
    ("", False, True), ("10.66.0.0/24", False, True), ("10.66.0.7", False, True),
    ("10.66.0.0/16", False, False), ("10.66.0.0/16", True, True), ("10.67.0.1", False, False),
])  # fmt: skip
def test_a_route_of_another_program_is_shown_with_its_maker(
    asked: str, longer: bool, there: bool
) -> None:
    kernel = Kernel()
    kernel.foreign = [
        ForeignRouteView(prefix("10.66.0.0/24"), "192.0.2.9", "red-ce", "static", 20, "")
    ]
    wanted = RouteFilter(vrf="red", prefix=asked, longer=longer)
    found = [r for r in route_rows(two_pes().router, kernel, wanted, 0.0)
             if r.source is RouteSource.FOREIGN]  # fmt: skip
    assert bool(found) is there
    if there:
        assert (
            "K *  10.66.0.0/24         via 192.0.2.9, red-ce, proto static, metric 20"
            in "\n".join(listing([route(found[0])]))
        )


def foreign(prefix_: str, gateway: str = "192.0.2.9", **more: Any) -> ForeignRouteView:
    fields = {"protocol": "static", "metric": 0, "kind": "", **more}
    return ForeignRouteView(prefix(prefix_), gateway, "red-ce", **fields)


def beside(*routes: ForeignRouteView, asked: str) -> list[tuple[str, int, str]]:
    """Source, metric and what keeps them from being used, of all routes of a prefix."""
    kernel = Kernel()
    kernel.foreign = [*routes]
    found = rows(two_pes(), kernel, asked)
    return [(row.source.value, row.metric, row.inactive_reason)
            for row in found if row.best or row.source is RouteSource.FOREIGN]  # fmt: skip


OURS, LINK = "10.1.0.0/16", "192.0.2.0/30"


def test_a_route_of_a_lower_metric_takes_the_packets_from_ours() -> None:
    assert beside(foreign(OURS, metric=50), asked=OURS) == [
        ("VPN", 0, "a route of another program has a lower metric: 50"), ("foreign", 50, ""),
    ]  # fmt: skip
    assert beside(foreign(OURS, metric=2000), asked=OURS) == [
        ("VPN", 0, ""), ("foreign", 2000, "not best: metric 1198 is lower"),
    ]  # fmt: skip
    assert beside(foreign(OURS, metric=50, tos=16), asked=OURS) == [
        ("VPN", 0, ""), ("foreign", 50, ""),
    ], "it takes those with its TOS"  # fmt: skip


def test_the_kernels_own_route_to_a_link_comes_first() -> None:
    assert beside(foreign(LINK, metric=50), asked=LINK) == [
        ("connected", 0, ""), ("foreign", 50, "not best: metric 0 is lower"),
    ]  # fmt: skip


def test_of_several_routes_of_another_program_the_first_of_the_lowest_metric_is_used() -> None:
    several = [foreign("10.66.0.0/24", metric=m, place=p) for m, p in ((5, 0), (5, 1), (6, 0))]
    assert [reason for _, _, reason in beside(*several, asked="10.66.0.0/24")] == [
        "", "not best: behind another", "not best: metric 5 is lower",
    ]  # fmt: skip
    six = [foreign("2001:db8:66::/48", metric=5, place=p) for p in (0, 1)]
    assert [reason for _, _, reason in beside(*six, asked="2001:db8:66::/48")] == ["", ""]


@pytest.mark.parametrize(("more", "shown"), [
    ({"tos": 16, "metric": 50}, "via 192.0.2.9, red-ce, proto static, tos 0x10, metric 50"),
    ({"labels": (20, 30)}, "via 192.0.2.9, red-ce, label 20/30, proto static"),
    ({"gateway": "", "kind": "blackhole"}, "blackhole, red-ce, proto static"),
    ({"gateway": "nhid 7", "kind": "blackhole"}, "blackhole via nhid 7, red-ce, proto static"),
    ({"gateway": ""}, "on the link, red-ce, proto static"),
    ({"from_prefix": "10.7.0.0/16"}, "via 192.0.2.9, red-ce, proto static, from 10.7.0.0/16"),
])  # fmt: skip
def test_a_route_of_another_program_is_shown_as_ip_route_prints_it(
    more: dict[str, Any], shown: str
) -> None:
    kernel = Kernel()
    kernel.foreign = [foreign("10.66.0.0/24", **more)]
    (row,) = rows(two_pes(), kernel, "10.66.0.0/24")
    message = route(row)
    line = [*listing([message])][-1]
    assert " ".join(line.split()) == f"K * 10.66.0.0/24 {shown}"
    as_json = plain(message)
    assert (as_json["tos"], as_json["metric"]) == (more.get("tos", 0), more.get("metric", 0))
    assert (as_json["type"], as_json["next_hop"]) == (row.kind, more.get("gateway", "192.0.2.9"))


def test_a_route_that_is_not_there_says_why() -> None:
    rig = two_pes()
    rig.vpn("10.7.0.0/16", peer=PE2, rd="65001:2", asns=(65000,))  # our own AS

    def why(asked: str, *, core: bool = True) -> list[str]:
        return list(absence(rig.router, rig.router.vrfs["red"], asked, rig.now, core=core))

    targets = "no PE has announced it with a route target that the VRF imports (65000:1)"
    assert why("10.8.0.0/16") == [targets]
    refused = "10.255.0.2 announced 10.7.0.0/16 under RD 65001:2: refused, as-loop, 0 s ago"
    assert why("10.7.1.1") == [refused, targets]
    assert why("10.7.1.1", core=False) == [targets]
    rig.down(PE2)
    rig.down(PE3)
    assert why("10.8.0.0/16") == ["no session with 10.255.0.2, 10.255.0.3"]
