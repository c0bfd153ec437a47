"""BGP-7: malformed UPDATEs (RFC 7606), the same table for the one who sends and the one who judges.

A route that was there goes with a faulty UPDATE for it and the session stays; or only the
attribute goes; or the session does. Another route of the session stays unless that ends, the other
VPN does not notice, and the whole message is in the journal.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.attack import bgp
from labs.attack.cases import CE4, CE6, VPN4, VPN6, Case, Ground, Outcome, cases
from labs.attack.net import Net
from labs.waiting import until
from tests.attack.speech import SECONDS, Line, from_core, has, log_tail, to_pe

GROUNDS = {"ce4": CE4, "ce6": CE6, "vpn4": VPN4, "vpn6": VPN6}


@pytest.fixture(scope="module")
def lines() -> Iterator[dict[str, Line]]:
    """One session for all cases of a kind, made anew after those that end it."""
    found = {
        "ce4": Line(lambda: to_pe("red", 4)),
        "ce6": Line(lambda: to_pe("red", 6)),
        "vpn4": Line(from_core),
        "vpn6": Line(from_core),
    }
    yield found
    for line in found.values():
        line.close()


@pytest.fixture(scope="module")
def blue() -> Iterator[bgp.Session]:
    """The other VPN's session, up all the while."""
    with to_pe("blue") as session:
        yield session


def withdrawal(ground: Ground, *prefixes: str) -> bytes:
    """Routes taken back."""
    nlri = b"".join(map(ground.nlri, prefixes))
    if ground.family == bgp.IPV4:
        return bgp.update(withdrawn=nlri)
    return bgp.update(bgp.mp_unreach(ground.family, nlri))


def sentinel_of(ground: Ground) -> str:
    """Return a route that nothing else is about."""
    return ground.other.replace("2.0/24", "200.0/24").replace("45.0.0/24", "46.0.0/24").replace(
        ":2::", ":200::").replace(":45::", ":46::")  # fmt: skip


def decided(net: Net, ground: Ground, session: bgp.Session) -> None:
    """Wait until everything said so far is decided: a route behind it comes and goes."""
    prefix = sentinel_of(ground)
    session.send(ground.announcement(prefix))
    assert until(lambda: has(net, "red", prefix), SECONDS), (session.notification, log_tail(net))
    session.send(withdrawal(ground, prefix))
    assert until(lambda: not has(net, "red", prefix), SECONDS), log_tail(net)


def every() -> Iterator[object]:
    for name, ground in GROUNDS.items():
        for case in cases(ground):
            yield pytest.param(name, case, id=f"{name}-{case.name}")


@pytest.mark.parametrize(("name", "case"), list(every()))
def test_bgp_07_a_malformed_update(
    net: Net, lines: dict[str, Line], blue: bgp.Session, name: str, case: Case
) -> None:
    ground, session = GROUNDS[name], lines[name].session()
    both = {ground.prefix, ground.other}
    for prefix in both:
        session.send(ground.announcement(prefix))
    assert until(lambda: all(has(net, "red", p) for p in both), SECONDS), "control"
    session.send(case.message)
    if case.outcome is Outcome.RESET:
        ended = session.ended(SECONDS)
        assert ended is not None, case.clause
        assert ended[0] == 3, (ended, case.clause)
        assert until(lambda: not any(has(net, "red", p) for p in both), SECONDS), "they went too"
    else:
        decided(net, ground, session)
        assert session.alive, (session.notification, case.clause)
        assert has(net, "red", ground.other)
        wanted = case.outcome is not Outcome.WITHDRAW
        assert has(net, "red", ground.prefix) is wanted, case.clause
        if case.outcome is Outcome.TAKEN:
            # With any route distinguisher: the route is withdrawn with its session.
            lines[name].close()
        session.send(withdrawal(ground, *both))
        assert until(lambda: not any(has(net, "red", p) for p in both), SECONDS)
    assert blue.alive
    if case.outcome is not Outcome.TAKEN and case.name != "reserved-label":
        assert until(lambda: is_logged(net, case), SECONDS), "the whole message is in the journal"


def is_logged(net: Net, case: Case) -> bool:
    """True if the journal has the message and what was done about it (RFC 7606 section 6)."""
    told = [line for line in net.lab.log("pe1", "pe").splitlines() if "update_malformed" in line]
    return any(case.message.hex() in line and case.outcome.value in line for line in told)


def test_bgp_07_what_was_discarded_is_not_there(net: Net, lines: dict[str, Line]) -> None:
    """Discard the attribute itself: a LOCAL_PREF from outside does not influence best-path
    selection, and a second ORIGIN does not replace the first."""
    session = lines["ce4"].session()
    for name in ("local-pref-from-outside", "second-origin"):
        (case,) = (c for c in cases(CE4) if c.name == name)
        session.send(case.message)
        decided(net, CE4, session)
        (route,) = net.pe1.show_routes("red", CE4.prefix)
        assert route.local_preference in (0, 100), name
        assert route.origin.lower().startswith("i"), name
    session.send(withdrawal(CE4, CE4.prefix))


def test_bgp_07_a_flood_of_them_does_not_flood_the_journal(
    net: Net, lines: dict[str, Line], blue: bgp.Session
) -> None:
    """Two thousand malformed UPDATEs: the journal has the first hundred of ten seconds, and the
    session, the node and blue go on."""
    (case,) = (c for c in cases(CE4) if c.name == "med-length-3")
    lines["ce4"].close()
    before = net.lab.log("pe1", "pe").count("update_malformed")
    with to_pe() as session:
        session.send(*[case.message] * 2000)
        decided(net, CE4, session)
        assert session.alive
    assert net.lab.log("pe1", "pe").count("update_malformed") - before <= 300
    assert blue.alive
