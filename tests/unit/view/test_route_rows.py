"""``pe show routes``: ``*`` is in the kernel; every other path says why it is not."""

from __future__ import annotations

from controlplane.model.prefix import Prefix
from controlplane.model.view import RouteFilter, RouteView
from pe.view.routes import route_rows
from tests.unit.controlplane.rig import PE2, PE3, Rig, pe_peer, static, vrf


class Kernel:
    """Has every route but those that it refuses, and those that are under way."""

    def __init__(self, refused: dict[str, str] | None = None, late: str = "") -> None:
        self.refused, self.late = refused or {}, late

    def has_route(self, _table: int, prefix: Prefix) -> bool:
        return str(prefix) not in (*self.refused, self.late)

    def route_refusal(self, _table: int, prefix: Prefix) -> str:
        return self.refused.get(str(prefix), "")


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
