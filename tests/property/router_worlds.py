"""Small worlds for the router: few VRFs, targets, prefixes and peers, so that they collide."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec
from hypothesis import strategies as st

from controlplane.model.attributes import AsSegment, Attributes, Nlri, Origin
from controlplane.model.events import (
    Event,
    IntentChanged,
    RoutesReceived,
    SessionDown,
    SessionUp,
    UnderlayPath,
)
from controlplane.model.intent import (
    ACCEPT_ANY,
    DENY_ALL,
    NodeIntent,
    PeerIntent,
    Policy,
    PrefixRule,
    StaticRouteIntent,
    VrfIntent,
)
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, Prefix
from controlplane.model.rd import RouteTarget, parse_rd, parse_soo
from controlplane.model.workload import WorkloadAttached
from tests.unit.controlplane.rig import (
    PE2,
    PE3,
    V4,
    V6,
    ce_peer,
    node,
    pe_peer,
    port,
    prefix,
    static,
    targets,
)

CORE = (PE2, PE3)
VRFS = ("red", "blue", "hub")
CES = tuple(PeerId(name, ip_address("192.0.2.2")) for name in VRFS)
PORTS = tuple(f"{name}-ce" for name in VRFS)
WAY = (UnderlayPath(ip_address("10.0.0.2"), "core0", (100,)),)
BLOCK = LabelBlock(16000, 16009)

PREFIXES = [
    prefix(text)
    for text in (
        "10.1.0.0/24",
        "10.2.0.0/24",
        "23.1.0.0/24",
        "0.0.0.0/0",
        "192.0.2.0/30",
        "2001:db8:1::/48",
    )
]
some_prefixes = st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=5, unique=True)
some_targets: st.SearchStrategy[frozenset[RouteTarget]] = st.sets(
    st.sampled_from(["65000:1", "65000:2", "65000:3"]), min_size=1, max_size=2
).map(lambda found: targets(*found))
rds = st.sampled_from([parse_rd("65001:1"), parse_rd("65001:2")])
labels = st.sampled_from([300, 301, 3])  # the last is reserved, and refused

_sequences = st.sampled_from([(), (65101,), (65102,), (65101, 65102), (65102, 65000), (65101, 0)])
_soo = st.sampled_from([None, parse_soo("65000:5")])


@st.composite
def attributes(draw: st.DrawFn, first: int | None = None) -> Attributes:
    asns = draw(_sequences)
    asns = asns if first is None else (first, *asns)
    soo = draw(_soo) if first is None else None
    return Attributes(
        origin=draw(st.sampled_from(list(Origin))),
        as_path=(AsSegment("sequence", asns),) if asns else (),
        med=draw(st.sampled_from([None, 5])),
        local_pref=draw(st.sampled_from([None, 0, 100, 200])),
        communities=draw(st.sampled_from([(), ((65101, 1),), ((0xFFFF, 0xFF01),)])),
        sites_of_origin=frozenset({soo}) if soo else frozenset(),
        originator_id=draw(st.sampled_from([None, "10.255.0.3"])) if first is None else None,
    )


def underlay_paths() -> st.SearchStrategy[tuple[UnderlayPath, ...]]:
    member = st.builds(
        UnderlayPath,
        st.sampled_from([ip_address("10.0.0.2"), ip_address("10.0.1.2")]),
        st.sampled_from(["core0", "core1"]),
        st.sampled_from([(), (100,)]),
    )
    return st.sampled_from([0, 1, 1, 2]).flatmap(
        lambda size: st.lists(member, min_size=size, max_size=size, unique=True).map(tuple)
    )


def asn_of(vrf: str) -> int:
    return 65101 + VRFS.index(vrf)


_only = Policy((PrefixRule(prefix("10.1.0.0/24"), 24, 24),))
_policies = st.sampled_from([ACCEPT_ANY, ACCEPT_ANY, ACCEPT_ANY, DENY_ALL, _only])


@st.composite
def _neighbor(draw: st.DrawFn, name: str) -> PeerIntent:
    return ce_peer(
        name,
        "192.0.2.2",
        asn_of(name),
        families=(V4, V6),
        import_policy=draw(_policies),
        export_policy=draw(_policies),
        site_of_origin=draw(_soo),
        as_override=draw(st.booleans()),
        allow_as_in=draw(st.sampled_from([0, 1])),
        internet=draw(st.sampled_from([False, False, True])),
    )


def _statics(name: str) -> st.SearchStrategy[tuple[StaticRouteIntent, ...]]:
    kinds = [
        static("10.1.0.0/24"),
        static("10.2.0.0/24", "192.0.2.2"),
        static("10.2.0.0/24", port=f"{name}-ce"),
        static("2001:db8:1::/48", port=f"{name}-ce"),
    ]
    return st.lists(st.sampled_from(kinds), max_size=2, unique=True).map(tuple)


@st.composite
def vrfs(draw: st.DrawFn, name: str) -> VrfIntent:
    """A VRF of that name, as it might be wished for."""
    number = VRFS.index(name) + 1
    link = ("192.0.2.1/30", "2001:db8::1/64")[: draw(st.sampled_from([1, 2, 2, 2]))]
    spoken = draw(st.sampled_from([True, True, True, False]))
    return VrfIntent(
        name=name,
        rd=parse_rd(f"65000:{number + draw(st.sampled_from([0, 0, 10]))}"),
        import_targets=draw(some_targets),
        export_targets=draw(some_targets),
        table=draw(st.sampled_from([0, 0, 0, 500 + number])),
        ports=(port(f"{name}-ce", name, *link),),
        static_routes=draw(_statics(name)),
        advertise_connected=draw(st.booleans()),
        internet=draw(st.sampled_from([False, False, True])),
        neighbors=(draw(_neighbor(name)),) if spoken else (),
    )


@st.composite
def intents(draw: st.DrawFn) -> NodeIntent:
    """Three VRFs and two core sessions."""
    found = [draw(vrfs(name)) for name in VRFS]
    return node(*found, peers=map(pe_peer, CORE), label_block=BLOCK, label_hold_down=100)


@st.composite
def changed(draw: st.DrawFn, intent: NodeIntent) -> NodeIntent:
    """The same with one thing changed: a VRF that comes, goes or is another, or the core."""
    name = draw(st.sampled_from((*VRFS, "policy", "core")))
    if name == "policy":
        return draw(other_policies(intent))
    if name == "core":
        some = st.lists(st.sampled_from(CORE), min_size=1, unique=True)
        return msgspec.structs.replace(intent, peers=tuple(map(pe_peer, draw(some))))
    others = [v for v in intent.vrfs if v.name != name]
    mine = intent.vrf(name)
    if mine is None or draw(st.sampled_from([True, True, True, False])):
        fields = draw(st.sets(st.sampled_from(_CHANGING), min_size=1, max_size=2))
        new = draw(vrfs(name))
        kept = {field: getattr(new, field) for field in fields}
        others.append(msgspec.structs.replace(mine, **kept) if mine else new)
    return msgspec.structs.replace(intent, vrfs=tuple(others))


@st.composite
def other_policies(draw: st.DrawFn, intent: NodeIntent) -> NodeIntent:
    """Every CE session stays, under other rules."""
    vrfs = tuple(
        msgspec.structs.replace(v, neighbors=(draw(_neighbor(v.name)),) if v.neighbors else ())
        for v in intent.vrfs
    )
    return msgspec.structs.replace(intent, vrfs=vrfs)


_CHANGING = [
    "rd",
    "import_targets",
    "export_targets",
    "table",
    "ports",
    "static_routes",
    "advertise_connected",
    "internet",
    "neighbors",
]


@st.composite
def workloads(draw: st.DrawFn, name: str) -> WorkloadAttached:
    """A workload on the link, behind the CE or anywhere, in a VRF that may not be there."""
    vrf = draw(st.sampled_from(VRFS))
    return WorkloadAttached(
        name=name,
        vrf=vrf,
        port=f"{vrf}-ce",
        prefixes=tuple(draw(st.lists(_places, min_size=1, max_size=2, unique=True))),
        groups=frozenset(draw(st.sets(st.sampled_from([101, 102])))),
        moves=draw(st.sampled_from([0, 0, 2])),
    )


_places = st.sampled_from(
    [
        prefix(text)
        for text in (
            "10.1.0.5/32",
            "10.1.0.0/24",
            "10.2.0.0/25",
            "23.1.0.9/32",
            "192.0.2.2/32",
            "2001:db8::2/128",
            "2001:db8:1::5/128",
        )
    ]
)


def core_words(peer: PeerId, prefixes: list[Prefix], data: st.DataObject) -> list[RoutesReceived]:
    """The announcements of a PE, all with the same attributes."""
    rts: frozenset[RouteTarget] = data.draw(some_targets)
    said = msgspec.structs.replace(data.draw(attributes()), route_targets=rts)
    rd, label = data.draw(rds), data.draw(labels)
    hop = data.draw(st.sampled_from([p.address for p in CORE]))
    return [
        RoutesReceived(peer, Family.of(p.afi, vpn=True), hop, said, [Nlri(p, rd, (label,))])
        for p in prefixes
    ]


def ce_words(peer: PeerId, prefixes: list[Prefix], data: st.DataObject) -> list[RoutesReceived]:
    """The announcements of a CE, all with the same attributes."""
    said = data.draw(attributes(first=asn_of(peer.vrf)))
    hops: dict[int, IPAddress] = {4: peer.address, 16: ip_address("2001:db8::2")}
    return [
        RoutesReceived(peer, Family.of(p.afi, vpn=False), hops[len(p.packed)], said, [Nlri(p)])
        for p in prefixes
    ]


def behind_reloads(turn: list[Event]) -> Iterator[list[Event]]:
    """Cut a turn before the first session that changes behind a reload: that waits for the store,
    and what was withdrawn before it was sent to the former session."""
    reloads = [n for n, event in enumerate(turn) if isinstance(event, IntentChanged)]
    for place, event in enumerate(turn):
        if reloads and place > reloads[0] and isinstance(event, SessionDown | SessionUp):
            yield turn[:place]
            yield from behind_reloads(turn[place:])
            return
    yield turn
