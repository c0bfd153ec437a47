"""Optional transitive attributes that nothing here reads travel on, with the partial bit
(RFC 4271 section 5); the provider's own stop at the edge."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from controlplane.bgp.inbound import PROVIDERS_OWN, clean_ce
from controlplane.bgp.outbound import ce_attributes, to_core
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import Attributes
from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Afi
from controlplane.speaker.attributes import from_wire, to_wire
from controlplane.speaker.worker import attributes as sent
from controlplane.speaker.worker import received
from controlplane.speaker.worker.attribute_validation import validate_attributes
from tests.unit.controlplane.rig import ce_peer

OTC, FOREIGN, PARTIAL = 35, 99, 0x20
"""Only to Customer (RFC 9234), and a code that has no meaning assigned."""
SESSION = SimpleNamespace(local_as=65000, peer_as=65101, asn4=True)


def attribute(flags: int, code: int, value: bytes) -> bytes:
    return bytes((flags, code, len(value))) + value


def read(*octets: bytes) -> Attributes:
    """What the node makes of an UPDATE's attributes."""
    origin, path = attribute(0x40, 1, b"\0"), attribute(0x40, 2, b"\2\1" + (65101).to_bytes(4))
    validated = validate_attributes(origin + path + b"".join(octets), SESSION)
    assert not validated.fault
    found = received.read(
        validated.values, four_octets=True, external=True, unknown=validated.unknown
    )
    return from_wire(found)


def written(attributes: Attributes, code: int) -> bytes:
    """The octets in which an attribute leaves."""
    found = sent.build(to_wire(attributes))
    return bytes(found[code].pack(None))


@pytest.mark.parametrize("flags", [0xC0, 0xE0, 0xD0], ids=["whole", "partial", "extended"])
@pytest.mark.parametrize("code", [OTC, FOREIGN])
def test_it_is_passed_on_with_the_partial_bit(flags: int, code: int) -> None:
    value = (65000).to_bytes(4)
    octets = attribute(flags, code, value)
    if flags & 0x10:
        octets = bytes((flags, code, 0, len(value))) + value
    attributes = read(octets)
    assert written(attributes, code) == attribute(0xC0 | PARTIAL, code, value)


def test_a_long_one() -> None:
    value = bytes(range(256)) * 2
    attributes = read(bytes((0xD0, FOREIGN, 2, 0)) + value)
    assert written(attributes, FOREIGN) == bytes((0xD0 | PARTIAL, FOREIGN, 2, 0)) + value


def test_one_that_is_not_transitive_is_ignored() -> None:
    assert read(attribute(0x80, FOREIGN, b"x")).unknown == ()


def test_of_two_the_first_counts() -> None:
    """RFC 7606 section 3 g."""
    attributes = read(attribute(0xC0, FOREIGN, b"1"), attribute(0xC0, FOREIGN, b"2"))
    assert attributes.unknown == ((0xC0, FOREIGN, b"1"),)


def test_they_cross_the_provider_but_not_those_that_are_its_own() -> None:
    given = Attributes(unknown=tuple((0xC0, code, b"x") for code in (*sorted(PROVIDERS_OWN), 35)))
    peer = ce_peer("red", "192.0.2.2")
    cleaned = clean_ce(peer, given)
    assert [code for _, code, _ in cleaned.unknown] == [OTC]
    hop = NextHopKey(Afi.IPV4, None)
    path = Path(Source(RouteProtocol.BGP, "red", None, True, 1, ""), cleaned, hop, None)
    assert to_core(path, frozenset()).unknown == cleaned.unknown
    assert [code for _, code, _ in ce_attributes(peer, given).unknown] == [OTC]
