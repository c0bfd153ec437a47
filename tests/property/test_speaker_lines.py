"""The reader survives any line of a worker, and decodes valid ones correctly."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from controlplane.model.attributes import AsSegment, Attributes, Nlri, Origin
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, Prefix, mask
from controlplane.model.rd import RouteDistinguisher, RouteTarget, SiteOfOrigin
from controlplane.speaker.attributes import from_wire, to_wire
from controlplane.speaker.lines import LineSplitter
from controlplane.speaker.nlri import pack_nlri, unpack_nlri
from controlplane.speaker.reports import ReportReader
from controlplane.speaker.session import WorkerSession

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ADDRESS = "10.0.0.2"
UP = b'{"t":"up","peer":"10.0.0.2","session":1,"families":[],"router_id":"","hold_time":9}'
PIECES = [
    b'{"t":"update"', b'"peer":"10.0.0.2"', b'"attributes":{"origin":1}', b'"announce":[[',
    b'"attributes":{"as_path":[[7,[1]]]}',
    b'"ipv4 mpls-vpn"', b'"aAASwQAA/egAAAABCgE="', b'"10.0.0.1"', b"]]", b"}", b",", b"{", b"null",
    b'"withdraw":[["ipv4 unicast","GAoBAg=="]]', b'{"t":"down"', b'"reason":"x"', b'{"t":"up"',
    b"\xff", b"9" * 40, b'"session":1', b'"\\ud800"', b'{"t":"log","level":"error","text":"y"}',
]  # fmt: skip


def reader() -> ReportReader:
    intent = PeerIntent(
        peer=PeerId("", IPv4Address(ADDRESS)),
        asn=65000,
        local_address=IPv4Address("10.0.0.1"),
        local_as=65000,
        families=tuple(Family),
    )
    return ReportReader({ADDRESS: WorkerSession(intent, 0)}, lambda *_: None, lambda: 0.0, set())


@given(st.lists(st.binary(max_size=300)))
def test_any_octets(lines: list[bytes]) -> None:
    reader().read([UP, *lines])


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join), max_size=20))
def test_almost_lines(lines: list[bytes]) -> None:
    reader().read([UP, *lines])


@given(st.sampled_from(Family), st.binary(max_size=200))
def test_any_octets_as_routes(family: Family, data: bytes) -> None:
    try:
        routes = unpack_nlri(family, data)
    except ValueError:
        return
    assert unpack_nlri(family, pack_nlri(family, routes)) == routes


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Family, list[Nlri]]:
    family = draw(st.sampled_from(Family))
    bits = family.afi.bits
    lengths = st.integers(0, bits)
    made = []
    for length in draw(st.lists(lengths, max_size=20)):
        packed = draw(st.binary(min_size=bits // 8, max_size=bits // 8))
        prefix = Prefix(mask(packed, length), length)
        made.append(
            Nlri(prefix, draw(rds()), (draw(st.integers(0, 1048575)),))
            if family.is_vpn
            else Nlri(prefix)
        )
    return family, made


def rds() -> st.SearchStrategy[RouteDistinguisher]:
    return st.one_of(
        st.builds(RouteDistinguisher, st.just(0), U16, U32),
        st.builds(RouteDistinguisher, st.integers(1, 0xFFFF), U32, U16),
    )


@given(blocks())
def test_routes_come_back_as_they_went(block: tuple[Family, list[Nlri]]) -> None:
    family, routes = block
    assert unpack_nlri(family, pack_nlri(family, routes)) == routes
    bare = [Nlri(route.prefix, route.rd) for route in routes]
    gone = pack_nlri(family, routes, withdraw=True)
    assert unpack_nlri(family, gone, withdraw=True) == bare


def _communities(kind: type[RouteTarget | SiteOfOrigin]) -> st.SearchStrategy[object]:
    small = st.builds(kind, st.just(0), U16, U32)
    return st.one_of(small, st.builds(kind, st.sampled_from((1, 2)), U32, U16))


ATTRIBUTES = st.builds(
    Attributes,
    origin=st.sampled_from(Origin),
    as_path=st.lists(
        st.builds(
            AsSegment,
            st.sampled_from(("sequence", "set", "confed-sequence")),
            st.lists(U32, min_size=1, max_size=5).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    med=st.none() | U32,
    local_pref=st.none() | U32,
    atomic_aggregate=st.booleans(),
    communities=st.lists(st.tuples(U16, U16), max_size=3).map(tuple),
    route_targets=st.frozensets(_communities(RouteTarget), max_size=4),
    sites_of_origin=st.frozensets(_communities(SiteOfOrigin), max_size=2),
    large_communities=st.lists(st.tuples(U32, U32, U32), max_size=3).map(tuple),
    cluster_list=st.lists(st.ip_addresses(v=4).map(str), max_size=3).map(tuple),
)


@given(ATTRIBUTES)
def test_attributes_come_back_as_they_went(attributes: Attributes) -> None:
    assert from_wire(to_wire(attributes)) == attributes


@given(st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found = LineSplitter(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == lines


@given(st.integers(11, 200), st.integers(1, 64))
def test_a_line_that_is_too_long_is_dropped_alone(length: int, step: int) -> None:
    stream = b"one\n" + b"x" * length + b"\ntwo\n"
    splitter, found = LineSplitter(longest=10), []
    for start in range(0, len(stream), step):
        found += splitter.feed(stream[start : start + step])
    kept = [line for line in found if len(line) <= 10]
    assert kept == [b"one", b"two"]
    assert splitter.dropped + (len(found) - len(kept)) == 1
