"""Test the errors of an invalid file: the place, the problem, the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe.config import ConfigErrors, load_config, parse_config
from tests.unit.config.text import GOOD, changed, errors, line_of, only

TCP = """\
api:
  tcp: {address: 127.0.0.1, port: 50051, certificate: c, key: k, client-ca: a, grants: []}
"""

# (what is replaced, by what, the key path, a piece of the problem, a piece of the cure)
CASES = [
    ("asn: 65000", "asn: 0", "asn", "out of range", "1 to 4294967294"),
    ("asn: 65000", "asn: [65000]", "asn", "must be one value", "AS number"),
    ("asn: 65000", "asn:", "asn", "has no value", "AS number"),
    ("asn: 65000", "asn: 0.0", "asn", "reserved", ""),
    ("asn: 65000\n", "", "", "'asn' is missing", "add 'asn"),
    ("loopback: 10.255.0.1", "loopback: 10.255.0.0/24", "loopback", "not an IPv4", "10.255.0.1"),
    ("loopback: 10.255.0.1", "loopback: 127.0.0.1", "loopback", "cannot be used", ""),
    ("  10.255.0.2:", "  10.255.0.1:", "peers.10.255.0.1", "own address", "other PE"),
    ("md5: core", "md5: core\n    asn: 65009", "peers.10.255.0.2.asn", "only iBGP", "CE"),
    ("md5: core", "md5: 'a b'", "peers.10.255.0.2.md5", "characters", "letters"),
    ("md5: core", "hold-time: 2", "peers.10.255.0.2.hold-time", "out of range", "0 or 3"),
    ("md5: core", "local-address: 10.9.9.9", "peers.10.255.0.2.local-address", "no address", ""),
    ("md5: core", "local-address: 2001:db8::1", "peers.10.255.0.2.local-address", "family", ""),
    ("  10.255.0.2:", "  2001:db8::2:", "peers.2001:db8::2", "no IPv6 loopback", "loopback-ipv6"),
    ("md5: core", "md5-file: /none", "peers.10.255.0.2.md5-file", "cannot read", "a file"),
    ("md5: core", "families: ipv4", "peers.10.255.0.2.families[0]", "not known", "vpnv4 or vpnv6"),
    ("md5: core", "families: []", "peers.10.255.0.2.families", "at least 1", ""),
    ("rd: 65000:2", "rd: 65000:1", "vrfs.blue.rd", "also that of vrfs.red.rd", "its own"),
    ("rd: 65000:2", "rd: blue", "vrfs.blue.rd", "not a route distinguisher", "65000:1"),
    ("route-target: 65000:2", "route-target: []", "vrfs.blue", "no route target", "65000:2"),
    ("rd: 65000:2", "rd: 65000:2\n    label-mode: per-ce", "vrfs.blue.label-mode", "netfilter",
     "per-vrf"),
    ("rd: 65000:2", "rd: 65000:2\n    table: 254", "vrfs.blue.table", "'main'", "another"),
    ("rd: 65000:2", "rd: 65000:2\n    table: 24005", "vrfs.blue.table", "label block", "outside"),
    ("rd: 65000:2", "rd: 65000:2\n    table: 67108864", "vrfs.blue.table", "out of range",
     "67108863"),
    ("rd: 65000:2", "rd: 65000:2\n    workloads: {w: {port: ce2, addresses: 127.0.0.1}}",
     "vrfs.blue.workloads.w.addresses", "loopback", "name hosts"),
    ("rd: 65000:2", "rd: 65000:2\n    workloads: {w: {port: ce2, addresses: 224.0.0.9}}",
     "vrfs.blue.workloads.w.addresses", "multicast", "name hosts"),
    ("      ce2:", "      ce2:\n        mtu: 1000\n        addresses: 2001:db8:9::1/64\n      ce3:",
     "vrfs.blue.ports.ce2.mtu", "too few", "1280"),
    ("asn: 65000", "label-block: 200-300\nasn: 65000", "label-block", "tables", "256"),
    ("asn: 65000", "label-block: 100-200\nasn: 65000", "label-block", "tables", "256"),
    ("asn: 65000", "label-block: 16-100\nasn: 65000", "label-block", "tables", "256"),
    ("asn: 65000", "label-block: 255-300\nasn: 65000", "label-block", "tables", "256"),
    ("asn: 65000", "label-block: 16000-16000\nasn: 65000", "label-block", "too few", "one a VRF"),
    ("asn: 65000", "limits: {routes: 1}\nasn: 65000", "limits.routes", "2 VRFs share", "more"),
    ("asn: 65000", "label-block: 9-1\nasn: 65000", "label-block", "outside", "24000-31999"),
    ("  blue:", "  -blue:", "vrfs.-blue", "not a name", "a letter or digit"),
    ("  blue:", "  sixteen-letters-x:", "vrfs.sixteen-letters-x", "not a name", "14"),
    ("  blue:", "  lo:", "vrfs.lo", "system's own", ""),
    ("  blue:", "  ce1:", "vrfs.red.ports.ce1", "also used at vrfs.ce1", ""),
    ("      ce2:", "      ce1:", "vrfs.blue.ports.ce1", "also used at vrfs.red.ports.ce1", ""),
    ("      ce2:", "      core0:", "vrfs.blue.ports.core0", "also used at core-ports.core0", ""),
    ("      ce2:", "      'a b':", "vrfs.blue.ports.a b", "not a name", "letter"),
    ("      ce2:", "      ce2:\n        vlan: 5", "vrfs.blue.ports.ce2.vlan", "parent", "add"),
    ("      ce2:", "      ce2:\n        parent: t0", "vrfs.blue.ports.ce2.parent", "VLAN", "add"),
    ("      ce2:", "      ce2:\n        mtu: 10", "vrfs.blue.ports.ce2.mtu", "out of range", "576"),
    ("      ce2:\n        addresses: 10.1.1.1/30", "      ce2: {addresses: 10.1.1.0/30}",
     "vrfs.blue.ports.ce2.addresses[0]", "network or broadcast", "10.1.1.1/30"),
    ("      ce2:\n        addresses: 10.1.1.1/30", "      ce2: {addresses: 10.1.1.1}",
     "vrfs.blue.ports.ce2.addresses[0]", "no prefix length", "ADDRESS/LENGTH"),
    ("    static-routes:", "      ce3:\n        addresses: 10.1.1.3/29\n    static-routes:",
     "vrfs.blue.ports.ce3.addresses", "overlaps 10.1.1.1/30 on ce2", "subnets"),
    ("    static-routes:", "      ce3:\n        addresses: 10.1.1.1/32\n    static-routes:",
     "vrfs.blue.ports.ce3.addresses", "also on ce2", "keep one"),
    ("via: 10.1.1.2", "via: 10.1.1.1", "vrfs.blue.static-routes[0].via", "own address", "CE"),
    ("via: 10.1.1.2", "via: 10.1.1.3", "vrfs.blue.static-routes[0].via", "broadcast", "CE"),
    ("via: 10.1.1.2", "via: 10.9.1.2", "vrfs.blue.static-routes[0].via", "not on a link",
     "ce2: 10.1.1.0/30"),
    ("via: 10.1.1.2", "port: ce1", "vrfs.blue.static-routes[0].port", "no port", "ce2"),
    ("via: 10.1.1.2", "blackhole: no", "vrfs.blue.static-routes[0]", "where", "blackhole: true"),
    ("via: 10.1.1.2", "{blackhole: true, via: 10.1.1.2}", "", "not readable as YAML", ""),
    ("prefix: 10.2.0.0/16", "prefix: 10.2.0.1/16", "vrfs.blue.static-routes[0].prefix", "host bits",
     "prefix such as"),
    ("prefix: 10.2.0.0/16", "prefix: 2001:db8::/32", "vrfs.blue.static-routes[0].via", "family",
     "same"),
    ("    static-routes:", "    static-routes:\n      - {prefix: 10.2.0.0/16, blackhole: true}",
     "vrfs.blue.static-routes[1]", "given twice", "keep one"),
    ("      10.1.1.2:", "      10.1.1.1:", "vrfs.red.neighbors.10.1.1.1", "own address", "CE"),
    ("      10.1.1.2:", "      10.1.2.2:", "vrfs.red.neighbors.10.1.2.2", "not on a link",
     "ce1: 10.1.1.0/30"),
    ("      10.1.1.2:", "      fe80::2:", "vrfs.red.neighbors.fe80::2", "link-local", "subnet"),
    ("asn: 65001", "asn: 65000", "vrfs.red.neighbors.10.1.1.2.asn", "eBGP", "customer's"),
    ("asn: 65001", "asn: 65001\n        port: ce2", "vrfs.red.neighbors.10.1.1.2.port", "no port",
     "ce1"),
    ("import: 10.1.0.0/16 le 24", "import: 10.1.0.0/16 le 8", "vrfs.red.neighbors.10.1.1.2.import",
     "16 <= ge <= le <= 32", "ge 16 le 24"),
    ("import: 10.1.0.0/16 le 24", "import: everything", "vrfs.red.neighbors.10.1.1.2.import",
     "'any', 'none' or a list", "PREFIX"),
    ("asn: 65001", "asn: 65001\n        max-prefix: 0",
     "vrfs.red.neighbors.10.1.1.2.max-prefix.maximum", "out of range", "off"),
    ("asn: 65000", f"{TCP.replace('127.0.0.1', '0.0.0.0')}asn: 65000", "api.tcp.address",
     "every port", "bind-device"),
    ("asn: 65000", f"{TCP.replace('127.0.0.1', '192.0.2.1')}asn: 65000", "api.tcp.address",
     "every port", "bind-device"),
    ("asn: 65000", TCP.replace("grants: []", "bind-device: core0") + "asn: 65000",
     "api.tcp.bind-device", "no management port", "management-ports"),
    ("asn: 65000", TCP.replace("[]", "[{identity: x, role: root}]") + "asn: 65000",
     "api.tcp.grants[0].role", "not known", "viewer, operator, policy-editor or admin"),
    ("asn: 65000", TCP.replace("[]", "[{identity: x, role: viewer, vrfs: rad}]") + "asn: 65000",
     "api.tcp.grants[0].vrfs", "no VRF 'rad'", "red, blue"),
    ("asn: 65000", "api: {socket-mode: 0666}\nasn: 65000", "api.socket-mode", "every user", "0660"),
    ("asn: 65000", "run-dir: run\nasn: 65000", "run-dir", "not an absolute", "absolute"),
    ("asn: 65000", "router_id: 10.0.0.1\nasn: 65000", "router_id", "unknown key", "'router-id'?"),
    ("asn: 65001", "asn: 65001\n        holdtime: 9", "vrfs.red.neighbors.10.1.1.2.holdtime",
     "unknown key", "'hold-time'?"),
    ("      ce2:", "      ce2:\n        static-routes: []", "vrfs.blue.ports.ce2.static-routes",
     "unknown key", "belongs under vrfs.*"),
    ("asn: 65000", "zzz: 1\nasn: 65000", "zzz", "unknown key", "known here: name"),
    ("asn: 65000", "asn: 65000\nasn: 65001", "asn", "given twice, first in line 2", "keep one"),
    ("asn: 65000", "timers: 5\nasn: 65000", "timers", "section", "key: value"),
    ("asn: 65000", "asn: !!python/name:os.system 65000", "asn", "tag", "remove"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "path", "problem", "cure"),
    CASES,
    ids=[f"{case[2]}-{number}" for number, case in enumerate(CASES)],
)
def test_one_fault_is_one_error_with_its_cure(
    old: str, new: str, path: str, problem: str, cure: str
) -> None:
    error = only(changed((old, new)))
    assert (error.path, problem in error.problem, cure in error.cure) == (path, True, True), error


def test_the_good_text_has_no_fault() -> None:
    assert errors(GOOD) == ()


def test_two_vrfs_whose_bgp_processes_would_have_one_user() -> None:
    """BGP-14; the ids of these names are the same."""
    text = GOOD.replace("  red:\n", "  v10949:\n").replace("  blue:\n", "  v16465:\n")
    error = only(text)
    assert error.path == "vrfs.v16465"
    assert "user id of that of VRF 'v10949'" in error.problem
    assert parse_config(f"speaker-uids: 0\n{text}")


def test_an_error_names_line_and_column() -> None:
    text = changed(("rd: 65000:2", "rd: blue"))
    error = only(text)
    assert (error.line, error.column) == (line_of(text, "rd: blue"), 9)
    assert str(error).startswith(f"pe.yaml:{error.line}:9: vrfs.blue.rd: 'blue' is not")


def test_every_error_at_once_those_of_form_and_those_of_sense() -> None:
    text = changed(
        ("asn: 65000", "asn: many\nrouter_id: 10.0.0.1"),
        ("rd: 65000:2", "rd: 65000:1\n    colour: blue"),
        ("addresses: 10.0.0.1/31", "addresses: 10.0.0.1/33"),
        ("md5: core", "hold-time: soon"),
        ("via: 10.1.1.2", "via: 10.7.7.7"),
        ("      10.1.1.2:", "      10.1.9.2:"),
    )
    found = {(error.path, error.line) for error in errors(text)}
    expected = {
        ("asn", "asn: many"),
        ("router_id", "router_id"),
        ("core-ports.core0.addresses[0]", "10.0.0.1/33"),
        ("peers.10.255.0.2.hold-time", "hold-time"),
        ("vrfs.red.neighbors.10.1.9.2", "10.1.9.2"),
        ("vrfs.blue.colour", "colour"),
        ("vrfs.blue.static-routes[0].via", "10.7.7.7"),
    }
    places = {(path, line_of(text, piece)) for path, piece in expected}
    second_rd = text.index("rd: 65000:1", text.index("blue:"))
    assert found == places | {("vrfs.blue.rd", text[:second_rd].count("\n") + 1)}


def test_what_was_cut_out_is_not_held_against_the_rest() -> None:
    text = changed(("addresses: [10.1.1.1/30, 2001:db8:1::1/64]", "addresses: 10.1.1.1/99"))
    assert only(text).path == "vrfs.red.ports.ce1.addresses[0]"


def test_a_broken_section_takes_no_other_down() -> None:
    text = changed(("    rd: 65000:2\n", ""), ("rd: 65000:1", "rd: 65000:1\n    table: 255"))
    assert {error.path for error in errors(text)} == {"vrfs.blue", "vrfs.red.table"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'asn' is missing"),
        ("a: [", "not readable as YAML"),
        ("asn: 1\n\tloopback: 1.1.1.1", "a tab"),
        ("asn: 1\n---\nasn: 2", "second document"),
        ("asn: \x00", "not allowed in YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: &a [1]\nb: *a", "anchors and aliases"),
        ("a: *b", "undefined alias"),
        ("? [a, b]\n: 1", "plain word"),
        ("5", "section of keys"),
        ("- asn: 1", "section of keys"),
    ],
)
def test_broken_yaml_is_reported_in_one_line(text: str, problem: str) -> None:
    found = errors(text)
    assert any(problem in error.problem for error in found), [str(error) for error in found]
    assert all("\n" not in str(error) for error in found)


def test_recursion_through_an_alias_ends() -> None:
    assert errors("a: &a\n  b: *a")


def test_the_tab_is_named_with_its_place() -> None:
    error = only("asn: 1\n\tloopback: 1.1.1.1")
    assert (error.line, error.problem, error.cure) == (2, "a tab where YAML wants spaces",
                                                       "indent with spaces")  # fmt: skip


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "pe.yaml"
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigErrors) as caught:
        load_config(file)
    assert caught.value.errors[0].file == str(file)


def test_an_md5_file_with_the_wrong_content(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"caf\xc3\xa9")
    text = changed(("md5: core", "md5-file: key"))
    assert [error.problem for error in errors(text, tmp_path)] == ["is not text"]


def test_warnings_name_what_is_allowed_but_unwise() -> None:
    text = changed(("        md5: red\n", ""), ("        import: 10.1.0.0/16 le 24\n", ""),
                   ("        export: any\n", ""), ("    md5: core", "    passive: no"))  # fmt: skip
    warnings = parse_config(text).warnings
    assert [(w.path, w.problem) for w in warnings] == [
        ("peers.10.255.0.2", "a core session without MD5"),
        ("vrfs.red.neighbors.10.1.1.2", "a customer session without MD5"),
        ("vrfs.red.neighbors.10.1.1.2", "without a policy nothing is taken or sent"),
    ]
    assert parse_config(GOOD).warnings == ()


def test_no_error_shows_a_key() -> None:
    text = changed(("md5: core", "md5: 'hush \"hush'"))
    assert "hush" not in str(only(text))


def test_a_key_that_does_not_print_is_shown_escaped() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_config('core-ports: {"\\n": {}}')
    assert all("\n" not in str(error) for error in caught.value.errors)


@pytest.mark.parametrize("key", [r"\n", r"\e[2J", r"\u2028", r"\u202e"])
def test_control_characters_of_the_file_are_escaped_in_its_errors(key: str) -> None:
    (error,) = errors(changed(("asn: 65000", f'asn: 65000\n"x{key}é": 1')))
    text = str(error)
    assert text.isprintable()
    assert "xé" not in text
    assert "é" in text


@pytest.mark.parametrize(
    ("before", "after", "path", "problem"),
    [
        ("import: 10.1.0.0/16 le 24", "import: 240.0.0.0/4", "vrfs.red.neighbors.10.1.1.2.import",
         "240.0.0.0/4 is never accepted: it is reserved (RFC 6890)"),
        ("10.1.1.1/30", "10.255.0.9/24", "vrfs.blue.ports.ce2.addresses",
         "10.255.0.0/24 holds 10.255.0.1, this PE's loopback"),
        ("10.1.1.1/30", "10.255.0.9/24", "vrfs.blue.ports.ce2.addresses",
         "10.255.0.0/24 holds 10.255.0.2, a core peer"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_warning(
    before: str, after: str, path: str, problem: str
) -> None:
    text = GOOD.replace(
        "      ce2:\n        addresses: " + before, f"      ce2:\n        addresses: {after}"
    )
    text = text.replace(before, after) if before.startswith("import") else text
    text = text.replace("via: 10.1.1.2", "blackhole: true") if "10.255" in after else text
    warnings = [(w.path, w.problem) for w in parse_config(text).warnings]
    assert (path, problem) in warnings


@pytest.mark.parametrize(("name", "port"), [("CUST_A", "25ge1"), ("a.b", "1")])
def test_names_are_taken_as_linux_takes_them(name: str, port: str) -> None:
    text = GOOD.replace("  blue:", f"  {name}:").replace("      ce2:", f"      {port!r}:")
    vrf = next(v for v in parse_config(text).intent.vrfs if v.name == name)
    assert [p.name for p in vrf.ports] == [port]
