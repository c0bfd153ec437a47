"""What our messages make of a ruleset is what the nft program makes of the same words.

Each golden ruleset is loaded once by nft from its text and once by our messages: the kernel's own
dumps of both are compared byte by byte. And nft lists what we load, of both users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from labs.attack.inside import run_in
from labs.namespaces import inside
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.netlink import codec as nl
from pe.nft.diff import transaction
from pe.nft.fields import IP6_SOURCE, IP_SOURCE, IP_TTL
from pe.nft.matches import compare, within
from pe.nft.messages import FAMILIES
from pe.nft.model import Chain, Hook, Rule, Ruleset, Table, TableId
from pe.nft.ranges import Member
from pe.nft.reader import GET_CHAIN, GET_ELEMENTS, GET_RULE, GET_SET, RulesetReader
from pe.nft.socket import NETLINK_NETFILTER, BatchRefusedError, RulesetWriter
from pe.nft.statements import DROP, goto
from pe.nft.text import text
from pe.policy.program import TABLE, Layout, program
from tests.elements import elements_of
from tests.golden.founding import PRESENT
from tests.golden.test_ruleset import CASES
from tests.lab.agents import namespaces, run

pytestmark = pytest.mark.lab

Dump = dict[tuple[object, ...], object]
"""Everything in our tables but handles, which are new with each making, and what fills up."""


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """A namespace with all ports of the golden node."""
    with namespaces("pe"):
        for port in sorted(PRESENT - {"lo"}):
            run(f"ip -n pe link add {port} type dummy")
        yield "pe"


@pytest.fixture(autouse=True)
def _empty(node: str) -> Iterator[None]:
    yield
    run_in(node, "nft", "flush", "ruleset")


def dump(tables: Ruleset) -> Dump:
    """The kernel's words for what these tables hold."""
    socket, found = nl.NetlinkSocket(NETLINK_NETFILTER), Dump()
    try:
        for table in tables:
            _dump_table(socket, table, found)
    finally:
        socket.socket.close()
    return found


def _dump_table(socket: nl.NetlinkSocket, table: TableId, found: Dump) -> None:
    for chain in _objects(socket, GET_CHAIN, table):
        found[table, "chain", nl.text(chain[3])] = _without(chain, 2, 9)
    places = Counter[str]()
    for rule in _objects(socket, GET_RULE, table):
        chain_name = nl.text(rule[2])
        places[chain_name] += 1
        found[table, "rule", chain_name, places[chain_name]] = _without(rule, 3, 6, 8)
    for made in list(_objects(socket, GET_SET, table)):
        name = nl.text(made[2])
        found[table, "set", name] = _without(made, 14, 16)
        asked = nl.attribute(2, name.encode() + b"\0")
        # In the order of a hash of their own: that is random with each making.
        lists = [m[3] for m in _objects(socket, GET_ELEMENTS, table, asked) if 3 in m]
        found[table, "elements", name] = sorted(e for part in lists for e in _cut(part))


def _objects(
    socket: nl.NetlinkSocket, kind: int, table: TableId, more: bytes = b""
) -> Iterator[dict[int, memoryview]]:
    body = bytes((FAMILIES[table.family], 0, 0, 0))
    body += nl.attribute(1, table.name.encode() + b"\0") + more
    for message in socket.dump(kind, body):
        attributes = nl.attributes(message.body[4:])
        if nl.text(attributes[1]) == table.name:
            yield attributes


def _without(found: dict[int, memoryview], *kinds: int) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in found.items() if kind not in kinds}


def _cut(listed: memoryview) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(listed):
        length = int.from_bytes(listed[at : at + 2], "little")
        yield bytes(listed[at + 4 : at + length])
        at += length + 3 & ~3


def by_program(node: str, wanted: Ruleset) -> tuple[Dump, str]:
    """What nft makes of a ruleset's text, and its listing."""
    run_in(node, "nft", "-f", "-", stdin=text(transaction({}, wanted)))
    with inside(node):
        found = dump(wanted)
    listed = run_in(node, "nft", "list", "ruleset")
    run_in(node, "nft", "flush", "ruleset")
    return found, listed


def by_messages(node: str, *steps: Ruleset) -> tuple[Dump, str]:
    """What our messages make, from nothing through these rulesets."""
    with inside(node):
        writer = RulesetWriter()
    held: Ruleset = {}
    try:
        for wanted in steps:
            writer.apply(transaction(held, wanted))
            held = wanted
    finally:
        writer.close()
    with inside(node):
        found = dump(steps[-1])
    return found, run_in(node, "nft", "list", "ruleset")


def differing(ours: Dump, theirs: Dump) -> Dump:
    return {k: (ours.get(k), theirs.get(k)) for k in ours | theirs if ours.get(k) != theirs.get(k)}


@pytest.mark.parametrize("case", CASES)
def test_messages_make_what_nft_makes_of_the_text(node: str, case: str) -> None:
    wanted = ruleset(CASES[case])
    (theirs, listed), (ours, ours_listed) = by_program(node, wanted), by_messages(node, wanted)
    assert len(theirs) > 50
    assert differing(ours, theirs) == {}
    assert ours_listed == listed
    # The control: a word that differs is seen.
    other = RenderContext(CASES[case].desired, PRESENT, neighbours=17)
    run_in(node, "nft", "flush", "ruleset")
    assert differing(by_messages(node, ruleset(other))[0], theirs)


def test_a_change_ends_where_the_whole_would(node: str) -> None:
    """Step by step through all golden rulesets; each set and rule is what nft would have made."""
    steps = [ruleset(scope) for scope in CASES.values()]
    wanted = steps[-1]
    theirs, _ = by_program(node, wanted)
    ours, _ = by_messages(node, *steps, {}, *reversed(steps), wanted)
    # Sets without a name are numbered as there is room, and rules name them so.
    unlike = {key for key in differing(ours, theirs) if not str(key[2]).startswith("__set")}
    assert {key[1] for key in unlike} <= {"rule"}
    named = {key: differing(ours, theirs)[key] for key in unlike}
    assert {key: pair for key, pair in named.items() if "__set" not in str(pair)} == {}
    assert len(ours) == len(theirs)


RANGES: dict[str, list[str]] = {
    "two apart": ["10.1.0.0/16", "192.0.2.0/29"],
    "touching": ["10.0.1.0/24", "10.0.2.0/24", "10.0.4.0/24"],
    "from the first": ["0.0.0.0/8", "10.0.0.0/8"],
    "to the last": ["10.0.0.0/8", "240.0.0.0/4"],
    "one address": ["10.1.2.3/32", "10.1.2.5/32"],
    "halves": ["0.0.0.0/1", "128.0.0.0/1"],
    "a prefix of whole bytes": ["10.0.0.0/8"],
    "a prefix of odd bits": ["10.128.0.0/9"],
    "one host": ["10.1.2.3/32"],
    "IPv6": ["2001:db8::/32", "2001:db9:0:1::/64", "ff00::/8"],
    "an IPv6 host": ["2001:db8::1/128"],
}


@pytest.mark.parametrize("case", RANGES)
@pytest.mark.parametrize("negated", [False, True])
def test_ranges_of_all_shapes(node: str, case: str, *, negated: bool) -> None:
    members: list[Member] = [ip_network(prefix) for prefix in RANGES[case]]
    field = IP_SOURCE if members[0].version == 4 else IP6_SOURCE
    rule: Rule = (within(field, members, negated=negated), DROP)
    wanted = {TableId("netdev", "t"): Table({"c": Chain((rule,))})}
    (theirs, _), (ours, _) = by_program(node, wanted), by_messages(node, wanted)
    assert differing(ours, theirs) == {}


@pytest.mark.parametrize("staged", [False, True])
def test_nft_lists_what_judges_packets(node: str, *, staged: bool) -> None:
    """Everything of it: 1.0.6 ends at a set whose key it cannot make out."""
    layout = Layout(frozenset({10, 20}), staged=staged)
    table = program(layout)
    elements = {"zones": {b"\x0a\0": b"goto vrf_10"}, "e_pairs": {bytes(8): bytes(4)}}
    wanted = {TABLE: Table(table.chains, table.sets, table.counters, elements)}
    _, listed = by_messages(node, wanted)
    for kind, names in (("chain", table.chains), ("map", table.sets), ("counter", table.counters)):
        for name in names:
            assert f"\t{kind} {name} {{\n" in listed
    assert listed.rstrip().endswith("}")


def test_what_is_read_is_what_was_loaded(node: str) -> None:
    wanted = ruleset(CASES["under-policy"])
    by_messages(node, wanted)
    with inside(node):
        reader = RulesetReader()
    try:
        for name, table in wanted.items():
            held = reader.present(name, table)
            assert held is not None
            assert held.sets == table.sets
            assert held.counters == table.counters
            hooks = {n: chain.hook for n, chain in table.chains.items()}
            assert {n: chain.hook for n, chain in held.chains.items()} == hooks
            filled = {n: e for n, e in table.elements.items() if e}
            read = elements_of(reader, name, table.sets)
            assert {n: e for n, e in read.items() if e} == filled
    finally:
        reader.close()


@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_made_anew_from_names_it_has_the_same_shape(node: str, lead: int) -> None:
    """As after drift; and another program's table before ours, of any length, changes nothing."""
    table = program(Layout(frozenset({10, 20}), staged=True))
    elements = {name: dict[bytes, bytes]() for name in table.sets}
    elements["e_pairs"] = {bytes(8): bytes(4)}
    wanted = {TABLE: Table(table.chains, table.sets, table.counters, elements)}
    by_messages(node, wanted)
    with inside(node):
        reader, writer = RulesetReader(), RulesetWriter()
    try:
        before, shape = elements_of(reader, TABLE, table.sets), reader.shape(TABLE)
        run_in(node, "nft", "add", "table", "inet", "a" + "b" * lead)
        run_in(node, "nft", "add", "chain", "inet", "a" + "b" * lead, "c")
        held = reader.present(TABLE, wanted[TABLE])
        assert held is not None
        assert held.sets == table.sets
        writer.apply(transaction({TABLE: held}, wanted))
        assert elements_of(reader, TABLE, table.sets) == before
        assert reader.shape(TABLE) == shape
        run_in(node, "nft", "flush", "chain", "inet", TABLE.name, "e_nowhere")
        assert reader.shape(TABLE) != shape, "control: a rule that is gone is seen"
    finally:
        reader.close()
        writer.close()


def test_a_refusal_names_the_operation_and_nothing_is_done(node: str) -> None:
    rules: tuple[Rule, ...] = ((compare(IP_TTL, "<", 5), DROP), (goto("nowhere"),))
    wanted = {TableId("inet", "t"): Table({"c": Chain(rules, Hook("input", 0))})}
    with pytest.raises(BatchRefusedError, match="add rule inet t c goto nowhere"):
        by_messages(node, wanted)
    assert run_in(node, "nft", "list", "ruleset") == ""
