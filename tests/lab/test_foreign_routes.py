"""`pe show routes` beside `ip route show table`: each kind of route that another program can make
in a VRF's table is shown as it is, stays unless the key asks for its removal, and goes then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from controlplane.api.services.messages import route
from controlplane.model.desired import Delta
from controlplane.model.intent import NodeIntent, StaticRouteIntent
from controlplane.model.route_view import RouteView
from pe.cli.routes import listing
from pe.netlink.ownership import PROTOCOL
from tests.lab.agents import RouterProcess, founding_world, inside, until
from tests.lab.red_pe import red_node, red_pe
from tests.unit.controlplane.rig import port, static

FOUR, SIX = "10.66.0.0/24", "2001:db8:66::/48"
CE4, CE6 = "192.168.1.2", "fd00:1::2"
OURS4, OURS6 = "10.9.0.0/16", "2001:db8:9::/48"
PORT = port("pe1-red", "red", "192.168.1.1/24", "fd00:1::1/64")
OWN = (static(OURS4, CE4), static(OURS6, CE6))
MAKERS = {"3": "boot", "4": "static", "186": "bgp"}
TYPES = {"1": "unicast", "2": "local", "6": "blackhole", "7": "unreachable", "8": "prohibit",
         "9": "throw"}  # fmt: skip


class Case(NamedTuple):
    """``make`` are the words behind `ip route`, ``undo`` those that take the routes away; ``shown``
    what `pe show routes` has behind the prefix, a line per next hop. ``lowers`` is the metric by
    which packets are taken from our route, 0 if they are not."""

    name: str
    make: tuple[str, ...]
    shown: tuple[str, ...]
    undo: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    prefix: str = FOUR
    lowers: int = 0

    def __str__(self) -> str:
        return self.name


VIA, VIA6 = f"via {CE4} dev pe1-red", f"via {CE6} dev pe1-red"
KINDS = ("blackhole", "unreachable", "prohibit", "throw")
CASES = (
    Case("gateway", (f"add {FOUR} {VIA} proto static",), (f"via {CE4}, pe1-red, proto static",)),
    Case("on link", (f"add {FOUR} dev pe1-red",), ("on the link, pe1-red, proto boot",)),
    Case("maker", (f"add {FOUR} {VIA} proto bgp",), (f"via {CE4}, pe1-red, proto bgp",)),
    Case("metric", (f"add {FOUR} {VIA} metric 50",),
         (f"via {CE4}, pe1-red, proto boot, metric 50",)),
    Case("tos", (f"add {FOUR} tos 0x10 {VIA}",), (f"via {CE4}, pe1-red, proto boot, tos 0x10",)),
    Case("tos and metric", (f"add {FOUR} dsfield 0x08 {VIA} metric 7",),
         (f"via {CE4}, pe1-red, proto boot, tos 0x8, metric 7",)),
    Case("source address", (f"add {FOUR} {VIA} src 192.168.1.1",),
         (f"via {CE4}, pe1-red, proto boot",)),
    Case("local", (f"add local {FOUR} dev pe1-red proto static",),
         ("local, pe1-red, proto static",)),
    Case("multipath", (f"add {FOUR} proto static metric 9 "
                       f"nexthop {VIA} weight 2 nexthop via 192.168.1.3 dev pe1-red",),
         (f"via {CE4}, pe1-red, proto static, metric 9",
          "via 192.168.1.3, pe1-red, proto static, metric 9")),
    Case("object", (f"add {FOUR} nhid 77 proto static",), ("via nhid 77, proto static",),
         before=(f"nexthop add id 77 {VIA}",), undo=("nexthop del id 77",)),
    Case("group", (f"add {FOUR} nhid 79 proto static",), ("via nhid 79, proto static",),
         before=(f"nexthop add id 77 {VIA}", "nexthop add id 78 via 192.168.1.3 dev pe1-red",
                 "nexthop add id 79 group 77/78"),
         undo=("nexthop del id 79", "nexthop del id 78", "nexthop del id 77")),
    Case("blackhole object", (f"add {FOUR} nhid 77 proto static",),
         ("blackhole via nhid 77, proto static",),
         before=("nexthop add id 77 blackhole",), undo=("nexthop del id 77",)),
    Case("gateway of the other family", (f"add {FOUR} via inet6 {CE6} dev pe1-red",),
         (f"via {CE6}, pe1-red, proto boot",)),
    Case("labels", (f"add {FOUR} encap mpls 20/30 {VIA}",),
         (f"via {CE4}, pe1-red, label 20/30, proto boot",)),
    Case("several of a prefix", (f"add {FOUR} {VIA} metric 5", f"add {FOUR} dev pe1-red metric 6",
                                 f"add {FOUR} tos 0x10 dev pe1-red"),
         (f"via {CE4}, pe1-red, proto boot, metric 5",
          "on the link, pe1-red, proto boot, metric 6 (inactive: not best: metric 5 is lower)",
          "on the link, pe1-red, proto boot, tos 0x10")),
    Case("IPv4 appended", (f"add {FOUR} {VIA}", f"append {FOUR} dev pe1-red"),
         (f"via {CE4}, pe1-red, proto boot",
          "on the link, pe1-red, proto boot (inactive: not best: behind another)")),
    Case("IPv4 prepended", (f"add {FOUR} {VIA}", f"prepend {FOUR} dev pe1-red"),
         ("on the link, pe1-red, proto boot",
          f"via {CE4}, pe1-red, proto boot (inactive: not best: behind another)")),
    Case("IPv4 replaced", (f"add {FOUR} {VIA} metric 5", f"replace blackhole {FOUR} metric 5"),
         ("blackhole, proto boot, metric 5",)),
    Case("IPv6", (f"add {SIX} {VIA6} proto static",),
         (f"via {CE6}, pe1-red, proto static, metric 1024",), prefix=SIX),
    Case("IPv6 metric", (f"add {SIX} {VIA6} metric 50",),
         (f"via {CE6}, pe1-red, proto boot, metric 50",), prefix=SIX),
    Case("IPv6 on link", (f"add {SIX} dev pe1-red",),
         ("on the link, pe1-red, proto boot, metric 1024",), prefix=SIX),
    Case("IPv6 appended", (f"add {SIX} {VIA6}", f"append {SIX} via fd00:1::3 dev pe1-red"),
         (f"via {CE6}, pe1-red, proto boot, metric 1024",
          "via fd00:1::3, pe1-red, proto boot, metric 1024"), prefix=SIX),
    Case("IPv6 multipath", (f"add {SIX} nexthop {VIA6} nexthop via fd00:1::3 dev pe1-red",),
         (f"via {CE6}, pe1-red, proto boot, metric 1024",
          "via fd00:1::3, pe1-red, proto boot, metric 1024"), prefix=SIX),
    Case("IPv6 next hop withdrawn",
         (f"add {SIX} nexthop {VIA6} nexthop via fd00:1::3 dev pe1-red", f"del {SIX} {VIA6}"),
         ("via fd00:1::3, pe1-red, proto boot, metric 1024",), prefix=SIX),
    Case("IPv6 object", (f"add {SIX} nhid 77",), ("via nhid 77, proto boot, metric 1024",),
         before=(f"-6 nexthop add id 77 {VIA6}",), undo=("nexthop del id 77",), prefix=SIX),
    Case("IPv6 labels", (f"add {SIX} encap mpls 20 {VIA6}",),
         (f"via {CE6}, pe1-red, label 20, proto boot, metric 1024",), prefix=SIX),
    *(Case(kind, (f"add {kind} {FOUR} proto static",), (f"{kind}, proto static",))
      for kind in KINDS),
    *(Case(f"IPv6 {kind}", (f"add {kind} {SIX} proto static",),
           (f"{kind}, lo, proto static, metric 1024",), prefix=SIX) for kind in KINDS),
    Case("lower metric than ours", (f"add {OURS4} dev pe1-red metric 50",),
         ("on the link, pe1-red, proto boot, metric 50",), prefix=OURS4, lowers=50),
    Case("higher metric than ours", (f"add {OURS4} dev pe1-red metric 2000",),
         ("on the link, pe1-red, proto boot, metric 2000 "
          "(inactive: not best: metric 1198 is lower)",), prefix=OURS4),
    Case("tos beside ours", (f"add {OURS4} tos 0x10 dev pe1-red",),
         ("on the link, pe1-red, proto boot, tos 0x10",), prefix=OURS4),
    Case("IPv6 lower metric than ours", (f"add {OURS6} dev pe1-red metric 50",),
         ("on the link, pe1-red, proto boot, metric 50",), prefix=OURS6, lowers=50),
    Case("IPv6 higher metric than ours", (f"add {OURS6} dev pe1-red metric 2000",),
         ("on the link, pe1-red, proto boot, metric 2000 "
          "(inactive: not best: metric 1198 is lower)",), prefix=OURS6),
    Case("in our place", (f"replace blackhole {OURS4} metric 1198",), (), prefix=OURS4),
    Case("in our place, IPv6", (f"replace {OURS6} dev pe1-red metric 1198",), (), prefix=OURS6),
    Case("in our place, IPv6 by a gateway",
         (f"replace {OURS6} via fd00:1::3 dev pe1-red metric 1198",), (), prefix=OURS6),
    Case("before ours, same metric", (f"prepend {OURS4} dev pe1-red metric 1198",), (),
         prefix=OURS4),
    Case("beside ours, IPv6, same metric",
         (f"append {OURS6} via fd00:1::3 dev pe1-red metric 1198",),
         ("via fd00:1::3, pe1-red, proto boot, metric 1198",), prefix=OURS6),
    Case("in the last resort's place", ("replace throw default metric 4278198272",), (),
         prefix="default"),
    Case("in the last resort's place, IPv6", ("replace throw default metric 4278198272",), (),
         prefix="default"),
    Case("behind ours, same metric", (f"append {OURS4} dev pe1-red metric 1198",),
         ("on the link, pe1-red, proto boot, metric 1198",), prefix=OURS4),
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[None]:
    with founding_world():
        inside("pe1", "ip link set lo up")
        yield


@pytest.fixture(scope="module")
def pe(world: None) -> Iterator[RouterProcess]:
    with red_pe(intent_of()) as made:  # without a periodic check: what events show
        assert until(lambda: sum(is_used(made, p) for p in (OURS4, OURS6)) == 2)
        yield made


def intent_of(*more: StaticRouteIntent) -> NodeIntent:
    return red_node(PORT, static_routes=(*OWN, *more))


def rows(pe: RouterProcess) -> list[RouteView]:
    found: list[RouteView] = pe.call("show_routes")
    return found


def shown(pe: RouterProcess, code: str = "K") -> list[str]:
    lines = [line for line in listing(map(route, rows(pe))) if line.startswith(code)]
    return [" ".join(line[5:].split()) for line in lines]


def is_used(pe: RouterProcess, prefix: str) -> bool:
    return any(r.prefix == prefix and r.active for r in rows(pe) if r.source.value == "static")


def ours(pe: RouterProcess) -> dict[str, str]:
    """Our routes that are in no use, with the reason."""
    return {r.prefix: r.inactive_reason for r in rows(pe)
            if r.source.value == "static" and not r.active}  # fmt: skip


def _ours_beside(case: Case) -> dict[str, str]:
    reason = f"a route of another program has a lower metric: {case.lowers}"
    return {case.prefix: reason} if case.lowers else {}


def said(pe: RouterProcess) -> set[tuple[Any, ...]]:
    """What `pe show routes` has of foreign routes."""
    return {(r.prefix, r.kind or "unicast", r.next_hop, r.port, r.labels, r.protocol, r.metric,
             r.tos, r.from_prefix) for r in rows(pe) if r.source.value == "foreign"}  # fmt: skip


def kernels() -> set[tuple[Any, ...]]:
    """The same from `ip route`: all but ours and the kernel's own."""
    return {
        row
        for family in ("-4", "-6")
        for found in json.loads(
            inside("pe1", f"ip {family} -j -N -d route show table 1001"), object_pairs_hook=_first
        )
        if found["protocol"] not in (str(PROTOCOL), "2")
        for row in _ways(found)
    }


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep the prefix, of which the key is "dst", and the labels, of which it is the same."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found["labels" if key in found else key] = value
    return found


def _ways(found: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    full = {"default": "0.0.0.0/0"}.get(found["dst"], found["dst"])
    for hop in found.get("nexthops") or (found,):
        is_object = "nhid" in found
        gateway = hop.get("gateway") or hop.get("via", {}).get("host", "")
        labels = found.get("labels", "").split("/") if found.get("labels") else ()
        yield (
            full, TYPES[found["type"]],
            f"nhid {found['nhid']}" if is_object else gateway,
            "" if is_object else hop.get("dev", ""),
            tuple(map(int, labels)), MAKERS.get(found["protocol"], found["protocol"]),
            found.get("metric", 0), int(found.get("tos", "0"), 16), found.get("from", ""),
        )  # fmt: skip


def routed(table: str = "1001") -> set[str]:
    """Everything in the table, as `ip route` has it."""
    return {
        f"{family} {line}"
        for family in ("-4", "-6")
        for line in inside("pe1", f"ip {family} route show table {table}").splitlines()
    }


def put(case: Case) -> None:
    for words in case.before:
        inside("pe1", f"ip {words}")
    family = "-6" if ":" in case.prefix or "IPv6" in case.name else "-4"
    for words in case.make:
        into = words.replace(case.prefix, f"{case.prefix} table 1001", 1)
        inside("pe1", f"ip {family} route {into}")


def take_away(case: Case) -> None:
    for maker in ("boot", "static", "bgp", "0"):
        for family in ("-4", "-6"):
            inside("pe1", f"ip {family} route flush table 1001 proto {maker}", check=False)
    for words in case.undo:
        inside("pe1", f"ip {words}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_route_is_shown_as_it_is_and_stays(pe: RouterProcess, case: Case) -> None:
    assert until(lambda: (said(pe), kernels()) == (set(), set())), "the kernel's and ours are none"
    before = routed()
    put(case)
    try:
        expected = [f"{case.prefix} {way}" for way in case.shown]
        assert until(lambda: sorted(shown(pe)) == sorted(expected), 3), (shown(pe), expected)
        assert until(lambda: ours(pe) == _ours_beside(case), 3), ours(pe)
        assert until(lambda: routed() >= before, 3), before - routed()
        assert said(pe) == kernels(), "beside `ip route show`"
        pe.call("read_foreign_anew")
        pe.apply(Delta())  # an iteration
        assert until(lambda: not expected or pe.call("foreign_is_read"), 5)
        assert sorted(shown(pe)) == sorted(expected), "what a dump has is the same"
        assert said(pe) == kernels()
    finally:
        take_away(case)
    assert until(lambda: shown(pe) == [] and ours(pe) == {}, 5), rows(pe)


# -- foreign-routes: remove ------------------------------------------------------------------------


@pytest.fixture
def remove(pe: RouterProcess) -> Iterator[Callable[[], None]]:
    """Call it to set the key; it is taken back behind the test."""
    intent = msgspec.structs.replace(intent_of(), removes_foreign_routes=True)
    yield lambda: pe.call("configure", intent)
    pe.call("configure", intent_of())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_with_the_key_it_is_removed_and_nothing_else(
    pe: RouterProcess, remove: Callable[[], None], case: Case
) -> None:
    assert until(lambda: kernels() == set() == said(pe))
    before = routed()
    put(case)
    try:
        assert until(lambda: len(said(pe)) == len(case.shown), 3), said(pe)
        remove()
        assert until(lambda: routed() == before, 5), (routed() - before, before - routed())
        assert until(lambda: said(pe) == set() and ours(pe) == {}, 3), rows(pe)
    finally:
        take_away(case)


def test_a_route_without_a_maker_stays_with_the_key_and_is_shown(
    pe: RouterProcess, remove: Callable[[], None]
) -> None:
    """The kernel takes maker 0 for any: a removal might remove one of ours."""
    nameless = f"{FOUR} table 1001 {VIA} proto 0"
    inside("pe1", f"ip route add {nameless}")
    inside("pe1", f"ip route add {FOUR} table 1001 {VIA} metric 5")  # positive control
    try:
        remove()
        assert until(lambda: shown(pe) == [f"{FOUR} via {CE4}, pe1-red, proto 0"]), shown(pe)
        assert until(lambda: len(kernels()) == 1)
    finally:
        inside("pe1", f"ip route del {nameless}")
    assert until(lambda: shown(pe) == [])


@pytest.mark.parametrize(("prefix", "metric"), [("192.168.1.0/24", 0), ("fd00:1::/64", 256)])
def test_a_ports_own_route_comes_back_with_the_port(
    pe: RouterProcess, prefix: str, metric: int
) -> None:
    """As docs/security.md has it: the kernel makes it for the address, and the node does not."""
    inside("pe1", f"ip route replace blackhole {prefix} table 1001 metric {metric}")
    try:
        assert until(lambda: [line.split()[0] for line in shown(pe)] == [prefix])
    finally:
        take_away(CASES[0])
    inside("pe1", "ip link set pe1-red down")
    assert until(lambda: any(f"{prefix} dev pe1-red proto kernel" in line for line in routed()))
    assert until(lambda: ours(pe) == {} and shown(pe) == []), rows(pe)


def test_a_route_before_ours_of_our_metric_leaves_no_old_one_of_ours(pe: RouterProcess) -> None:
    """Ours took its place, and the one behind it, of which the node knew no more, stayed."""
    prefix = "10.8.0.0/16"
    pe.call("configure", intent_of(static(prefix, CE4)))
    assert until(lambda: len(of_ours(prefix)) == 1)
    inside("pe1", f"ip route prepend {prefix} table 1001 dev pe1-red metric 1198")
    assert until(lambda: kernels() == set() == said(pe) and len(of_ours(prefix)) == 1)
    pe.call("configure", intent_of(static(prefix, "192.168.1.3")))
    try:
        assert until(lambda: ours(pe) == {} and len(of_ours(prefix)) == 1), of_ours(prefix)
        pe.call("configure", intent_of())
        assert until(lambda: of_ours(prefix) == [])
    finally:
        pe.call("configure", intent_of())


@pytest.mark.parametrize(("prefix", "via"), [("10.8.0.0/16", CE4), ("2001:db8:8::/48", CE6)])
def test_one_that_ours_takes_the_place_of_is_shown_no_more(
    pe: RouterProcess, prefix: str, via: str
) -> None:
    """Of our own writes no notification comes: it was shown for up to a minute."""
    family = "-6" if ":" in prefix else "-4"
    try:
        inside("pe1", f"ip {family} route add unreachable {prefix} table 1001 metric 1198")
        assert until(lambda: len(shown(pe)) == 1 and said(pe) == kernels()), rows(pe)
        pe.call("configure", intent_of(static(prefix, via)))
        assert until(lambda: is_used(pe, prefix)), rows(pe)
        assert until(lambda: shown(pe) == [] and said(pe) == kernels()), (said(pe), kernels())
    finally:
        pe.call("configure", intent_of())
        take_away(CASES[0])


def of_ours(prefix: str) -> list[str]:
    return inside("pe1", f"ip route show {prefix} table 1001 proto {PROTOCOL}").splitlines()
