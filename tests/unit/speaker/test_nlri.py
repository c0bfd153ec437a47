"""Packed routes, octet for octet."""

import pytest

from controlplane.model.attributes import Nlri
from controlplane.model.prefix import Family, parse_prefix
from controlplane.model.rd import RouteDistinguisher, parse_rd
from controlplane.speaker.nlri import pack_nlri, pack_rd, unpack_nlri

RED = parse_rd("65000:1")
CASES = [
    (Family.IPV4_UNICAST, Nlri(parse_prefix("0.0.0.0/0")), "00"),
    (Family.IPV4_UNICAST, Nlri(parse_prefix("10.1.0.0/16")), "100a01"),
    (Family.IPV4_UNICAST, Nlri(parse_prefix("10.1.128.0/17")), "110a0180"),
    (Family.IPV6_UNICAST, Nlri(parse_prefix("2001:db8::/33")), "2120010db800"),
    (
        Family.IPV4_VPN,
        Nlri(parse_prefix("10.1.2.0/24"), RED, (300,)),
        "70" + "0012c1" + "0000fde800000001" + "0a0102",
    ),
    (
        Family.IPV4_VPN,
        Nlri(parse_prefix("10.1.2.3/32"), parse_rd("10.0.0.1:7"), (1048575,)),
        "78" + "fffff1" + "00010a0000010007" + "0a010203",
    ),
    (
        Family.IPV6_VPN,
        Nlri(parse_prefix("::/0"), parse_rd("4200000000:9"), (16,)),
        "58" + "000101" + "0002fa56ea000009",
    ),
]


@pytest.mark.parametrize(("family", "route", "octets"), CASES)
def test_each_form_both_ways(family: Family, route: Nlri, octets: str) -> None:
    assert pack_nlri(family, [route]).hex() == octets
    assert unpack_nlri(family, bytes.fromhex(octets)) == [route]


def test_distinguishers_that_print_alike_stay_apart() -> None:
    two, four = parse_rd("1:1"), parse_rd("1L:1")
    routes = [Nlri(parse_prefix("10.0.0.0/8"), rd, (16,)) for rd in (two, four)]
    assert unpack_nlri(Family.IPV4_VPN, pack_nlri(Family.IPV4_VPN, routes)) == routes
    assert routes[0] != routes[1]


def test_a_distinguisher_of_an_unknown_type_is_kept_as_it_is() -> None:
    octets = bytes.fromhex("70" + "0012c1" + "0009000000010002" + "0a0102")
    (route,) = unpack_nlri(Family.IPV4_VPN, octets)
    assert route.rd == RouteDistinguisher(9, 1, 2)
    assert pack_nlri(Family.IPV4_VPN, [route]) == octets


def test_host_bits_are_cleared() -> None:
    (route,) = unpack_nlri(Family.IPV4_UNICAST, bytes.fromhex("09" + "0aff"))
    assert route.prefix == parse_prefix("10.128.0.0/9")


def test_the_bottom_of_stack_bit_is_of_no_account() -> None:
    (route,) = unpack_nlri(
        Family.IPV4_VPN, bytes.fromhex("60" + "0012c0" + "0000fde800000001" + "0a")
    )
    assert route.labels == (300,)


def test_a_withdrawal_has_no_label() -> None:
    route = Nlri(parse_prefix("10.0.0.0/8"), RED, (300,))
    packed = pack_nlri(Family.IPV4_VPN, [route], withdraw=True)
    assert packed.hex() == "60" + "800000" + "0000fde800000001" + "0a"
    assert unpack_nlri(Family.IPV4_VPN, packed, withdraw=True) == [Nlri(route.prefix, RED)]


@pytest.mark.parametrize(
    ("family", "octets"),
    [
        (Family.IPV4_UNICAST, "180a01"),
        (Family.IPV4_UNICAST, "210a01020304"),
        (Family.IPV6_UNICAST, "81" + "00" * 17),
        (Family.IPV4_VPN, "20" + "0a010203"),
        (Family.IPV4_VPN, "70" + "0012c1" + "0000fde800000001" + "0a01"),
        (Family.IPV4_VPN, "7f" + "0012c1" + "0000fde800000001" + "0a01020304"),
    ],
)
def test_what_is_no_route_is_refused(family: Family, octets: str) -> None:
    with pytest.raises(ValueError, match=r"bits|short"):
        unpack_nlri(family, bytes.fromhex(octets))


@pytest.mark.parametrize(
    "route",
    [
        Nlri(parse_prefix("10.0.0.0/8"), None, (300,)),
        Nlri(parse_prefix("10.0.0.0/8"), RED),
        Nlri(parse_prefix("10.0.0.0/8"), RED, (300, 301)),
    ],
)
def test_a_vpn_route_needs_its_distinguisher_and_one_label(route: Nlri) -> None:
    with pytest.raises(ValueError, match="has"):
        pack_nlri(Family.IPV4_VPN, [route])


@pytest.mark.parametrize("label", ["000000", "800000", "04e201", "ffffff"])
def test_the_label_of_a_withdrawal_is_of_no_account(label: str) -> None:
    """RFC 8277 section 2.4."""
    data = b"\x70" + bytes.fromhex(label) + pack_rd(RED) + b"\x0a\1\2"
    found = unpack_nlri(Family.IPV4_VPN, data, withdraw=True)
    assert found == [Nlri(parse_prefix("10.1.2.0/24"), RED)]


def test_as_many_routes_of_several_distinguishers_as_an_update_holds() -> None:
    rds = [parse_rd(text) for text in ("65000:1", "10.0.0.1:2", "4200000000:3")]
    routes = [
        Nlri(parse_prefix(f"10.{n >> 8}.{n & 255}.0/24"), rds[n % 3], (16 + n,)) for n in range(260)
    ]
    packed = pack_nlri(Family.IPV4_VPN, routes)
    assert unpack_nlri(Family.IPV4_VPN, packed) == routes
