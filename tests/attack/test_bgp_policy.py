"""BGP-6, 8, 9: what a CE may say."""

from __future__ import annotations

import ipaddress

import pytest

from labs.attack import bgp, plan
from labs.attack.edit import edited
from labs.attack.net import Net, circuit
from labs.waiting import until
from tests.attack.speech import (
    AS,
    SECONDS,
    announce,
    both,
    done,
    learned,
    state,
    taken,
    to_pe,
)

RED = circuit("red", 1)
OWN = {4: "10.101.7.0/24", 6: "2001:db8:101:7::/64"}


# -- BGP-6: no policy, no routes ------------------------------------------------------------------


@both
def test_bgp_06_a_neighbour_without_policy(net: Net, version: int) -> None:
    """Accept and advertise no route without a configured policy (RFC 8212)."""
    mark = f'      "{plan.ce(1, version)}":\n        asn: {AS}'

    def bare(text: str) -> str:
        head, _, rest = text.partition(mark)
        kept: list[str] = []
        for line in rest.splitlines(keepends=True):
            mine = "max-prefix" not in "".join(kept)
            policy = line.strip().startswith(("import:", "export:"))
            kept += [] if mine and policy else [line]
        return head + mark + "".join(kept)

    with edited(net, bare), to_pe("red", version) as session:
        session.send(announce(OWN[version]))
        assert until(lambda: refused(net, version, "policy"), SECONDS)
        assert learned(net, "red", version) == set()
        assert bgp.announced(session) == []
        assert session.alive
    with to_pe("red", version) as session:
        taken(net, session, OWN[version])
        session.listen(SECONDS, lambda: bgp.announced(session))
        assert bgp.announced(session), "control: it is advertised"


def refused(net: Net, version: int, reason: str) -> int:
    """Routes of red's first CE that were refused for a reason."""
    return state(net, "red", version).refused[reason]  # type: ignore[attr-defined,no-any-return]


# -- BGP-8: prefixes ------------------------------------------------------------------------------

REFUSED = {
    "not-the-customers": "172.31.0.0/16",
    "too-long": "10.1.1.0/25",
    "default": "0.0.0.0/0",
    "loopback": "127.0.0.0/8",
    "this-network": "0.0.0.0/8",
    "link-local": "169.254.0.0/16",
    "multicast": "224.0.0.0/4",
    "its-own-link": "192.168.1.0/30",
    "anothers-link": "192.168.3.0/30",
    "part-of-a-link": "192.168.1.1/32",
    "core-loopback": "10.255.0.1/32",
    "core-link": "10.0.1.0/30",
    "everything": "0.0.0.0/1",
    "not-the-customers-6": "2001:db8:2::/64",
    "too-long-6": "2001:db8:101:1::/65",
    "default-6": "::/0",
    "loopback-6": "::1/128",
    "mapped-6": "::ffff:10.101.0.0/112",
    "link-local-6": "fe80::/64",
    "multicast-6": "ff00::/8",
    "unique-local-6": "fd00::/48",
    "its-own-link-6": "2001:db8:f1::/64",
    "anothers-link-6": "2001:db8:f3::/64",
    "core-loopback-6": "2001:db8:ff::1/128",
    "everything-6": "2000::/3",
}


@pytest.fixture(scope="module")
def sessions(net: Net) -> object:
    """One session of red's CE in each family, for all prefixes."""
    with to_pe("red", 4) as four, to_pe("red", 6) as six:
        yield {4: four, 6: six}


@pytest.mark.parametrize("prefix", REFUSED.values(), ids=REFUSED)
def test_bgp_08_only_the_customers_own_prefixes(
    net: Net, sessions: dict[int, bgp.Session], prefix: str
) -> None:
    """Each is refused and counted; another one in the same UPDATE is taken."""
    version = 6 if ":" in prefix else 4
    session = sessions[version]
    before = sum(state(net, "red", version).refused.values())  # type: ignore[attr-defined]
    session.send(announce(prefix, OWN[version]))
    assert until(lambda: OWN[version] in learned(net, "red", version), SECONDS), "control"
    assert prefix not in learned(net, "red", version)
    assert sum(state(net, "red", version).refused.values()) == before + 1  # type: ignore[attr-defined]
    session.send(bgp.update(withdrawn=bgp.prefixes(OWN[4])) if version == 4 else
                 bgp.update(bgp.mp_unreach(bgp.IPV6, bgp.prefixes(OWN[6]))))  # fmt: skip
    assert until(lambda: OWN[version] not in learned(net, "red", version), SECONDS)
    assert session.alive


# -- BGP-9: paths and next hops -------------------------------------------------------------------

PATHS: dict[str, tuple[int, ...]] = {
    "not-the-neighbours-as": (65999, AS),
    "our-as": (AS, plan.CORE_AS),
    "as-zero": (AS, 0),
    "absurdly-long": (AS,) * 255 + (AS + 1,),
    "empty": (),
}


@pytest.mark.parametrize("asns", PATHS.values(), ids=PATHS)
@both
def test_bgp_09_as_paths(
    net: Net, sessions: dict[int, bgp.Session], version: int, asns: tuple[int, ...]
) -> None:
    value = b"".join(bgp.as_path(*asns[at : at + 255]) for at in range(0, len(asns), 255))
    attributes = bgp.attribute(1, b"\0") + bgp.attribute(2, value)
    nlri, hop = bgp.prefixes(OWN[version]), ipaddress.ip_address(plan.ce(1, version)).packed
    session = sessions[version]
    if version == 4:
        session.send(bgp.update(attributes + bgp.attribute(3, hop), nlri))
    else:
        session.send(bgp.update(bgp.mp_reach(bgp.IPV6, hop, nlri) + attributes))
    done(net, session, "red", version)
    assert OWN[version] not in learned(net, "red", version)
    session.send(announce(OWN[version], asns=(AS, AS, 64999)))
    assert until(lambda: OWN[version] in learned(net, "red", version), SECONDS), "control"
    assert session.alive


HOPS = {
    "the-pe": ("192.168.1.1", "2001:db8:f1::1"),
    "another-ce": ("192.168.3.2", "2001:db8:f3::2"),
    "a-pe-of-the-core": ("10.255.0.2", "2001:db8:ff::2"),
    "loopback": ("127.0.0.1", "::1"),
    "multicast": ("224.0.0.1", "ff02::1"),
    "none": ("0.0.0.0", "::"),
}


@pytest.mark.parametrize("hops", HOPS.values(), ids=HOPS)
@both
def test_bgp_09_next_hops(
    net: Net, sessions: dict[int, bgp.Session], version: int, hops: tuple[str, str]
) -> None:
    """A CE speaks for itself: its own address and no other is the next hop."""
    session = sessions[version]
    taken(net, session, OWN[version])
    session.send(announce(OWN[version], hop=hops[version == 6]))
    done(net, session, "red", version)
    assert OWN[version] not in learned(net, "red", version), "what it was before it is not any more"
    assert session.alive
