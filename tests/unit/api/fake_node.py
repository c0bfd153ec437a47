"""A node that shows what it was given and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.model import view as v
from controlplane.model.peer import PeerId
from controlplane.model.route_view import RouteFilter, RouteSource, RouteView

FAMILY = v.NeighborFamilyView(family="ipv4", negotiated=True, received=3, sent=5, limit=10)


def neighbor(vrf: str, address: str, **fields: object) -> v.NeighborView:
    given: dict[str, object] = {
        "vrf": vrf,
        "address": address,
        "asn": 65001,
        "local_asn": 65000,
        "local_address": "10.1.1.1",
        "state": v.SessionState.ESTABLISHED,
        "state_age": 751.0,
        "families": (FAMILY,),
        "hold_time": 90,
        "md5": True,
    }
    return v.NeighborView(**{**given, **fields})  # type: ignore[arg-type]


def route(vrf: str, prefix: str, **fields: object) -> RouteView:
    given: dict[str, object] = {
        "vrf": vrf,
        "prefix": prefix,
        "source": RouteSource.VPN,
        "next_hop": "10.255.0.2",
        "best": True,
        "active": True,
        "labels": (3001, 16002),
        "age": 90061.0,
    }
    return RouteView(**{**given, **fields})  # type: ignore[arg-type]


def vrf(name: str, **fields: object) -> v.VrfView:
    given: dict[str, object] = {
        "name": name,
        "rd": "65000:1",
        "import_targets": ("65000:1",),
        "export_targets": ("65000:1",),
        "table": 16000,
        "label": 16000,
        "ports": (f"ce-{name}",),
        "routes": 4,
        "active_routes": 3,
    }
    return v.VrfView(**{**given, **fields})  # type: ignore[arg-type]


@dataclass
class FakeNode:
    """Implements ``NodeView`` from lists; red and blue, and a core."""

    route_rows: list[RouteView] = field(
        default_factory=lambda: [
            route("red", "10.2.0.0/16"),
            route("red", "10.1.1.0/30", source=RouteSource.CONNECTED, next_hop="", labels=()),
            route(
                "blue",
                "10.2.0.0/16",
                active=False,
                inactive_reason="no route",
                local_pref=200,
                med=0,
            ),
        ]
    )
    asked: list[RouteFilter] = field(default_factory=list)
    cleared: list[PeerId] = field(default_factory=list)
    reloads: int = 0
    health: dict[str, bool] = field(default_factory=lambda: {"": True, "dataplane": True})
    refusal: tuple[str, ...] = ()
    flow_log_problem: str = ""
    failing: tuple[str, ...] = ()
    enforced_revision: str = ""
    workloads: int = 0
    held_down: int = 0
    audit_log: str = ""

    def status(self) -> v.StatusView:
        return v.StatusView(
            name="pe1", version="0.1.0", router_id="10.255.0.1", asn=65000,
            loopbacks=("10.255.0.1",), uptime=3661.5, label_block="16000-23999",
            in_sync=not self.failing, failing=self.failing,
            left_out=1, left_out_routes=("10.66.0.0/16 in VRF red, from 192.0.2.3: KeyError: 'x'",),
            flow_log_problem=self.flow_log_problem,
            enforced_revision=self.enforced_revision, workloads=self.workloads,
            held_down=self.held_down, hold_down=250.0, audit_log=self.audit_log,
        )  # fmt: skip

    def vrfs(self) -> Iterable[v.VrfView]:
        return [vrf("red"), vrf("blue", rd="65000:2", label=0)]

    def neighbors(self) -> Iterable[v.NeighborView]:
        return [
            neighbor("", "10.255.0.2", asn=65000),
            neighbor("red", "10.1.1.2"),
            neighbor("blue", "10.1.1.2", state=v.SessionState.ACTIVE, state_age=None),
        ]

    def absence(self, vrf: str, prefix: str, *, core: bool) -> Iterable[str]:
        return (f"no neighbour of {vrf} has announced {prefix}", *(["core"] if core else []))

    def routes(self, wanted: RouteFilter) -> Iterator[RouteView]:
        self.asked.append(wanted)
        return (r for r in self.route_rows if wanted.vrf in ("", r.vrf))

    def labels(self) -> Iterable[v.LabelView]:
        return [
            v.LabelView(label=16000, vrf="red", table=16000),
            v.LabelView(label=16001, vrf="blue", table=0, held_down=True, hold_down=12.5),
        ]

    def next_hops(self) -> Iterable[v.NextHopView]:
        core = (v.PathView(gateway="10.0.12.0", port="core0", labels=(3001, 16002)),)
        return [
            v.NextHopView(id=7, address="10.255.0.2", reachable=True, paths=core, vpn_label=16002),
            v.NextHopView(id=8, address="10.1.1.2", reachable=False, paths=(), vrf="red"),
        ]

    def ports(self) -> Iterable[v.PortView]:
        return [
            v.PortView(name="core0", vrf="", present=True, up=True, addresses=("10.0.12.1/31",)),
            v.PortView(name="ce-red", vrf="red", present=True, up=False,
                       addresses=("10.1.1.1/30",), sources=("10.1.0.0/16",), guarded=True,
                       problem="IPv6 address refused: Permission denied"),
        ]  # fmt: skip

    def counters(self) -> Iterable[v.CounterView]:
        return [v.CounterView(name="drift_repaired", value=2, labels={"kind": "route"})]

    async def guards(self) -> Iterable[v.GuardView]:
        return [
            v.GuardView(requirement="LBL-2", name="allow_list", action="drop", packets=4,
                        bytes=400, vrf="red", port="ce-red"),
            v.GuardView(requirement="ACL-1", name="from_vpn", action="drop", packets=0,
                        bytes=0, vrf="blue", port="ce-blue"),
        ]  # fmt: skip

    def serving(self) -> Mapping[str, bool]:
        return self.health

    async def reload(self) -> v.ReloadReport:
        self.reloads += 1
        if self.refusal:
            raise v.ReloadRefusedError(self.refusal)
        return v.ReloadReport(changes=("vrf green added",))

    async def clear_neighbor(self, peer: PeerId) -> None:
        self.cleared.append(peer)
