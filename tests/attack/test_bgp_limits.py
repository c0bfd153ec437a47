"""Test BGP-4: limits on what one customer may advertise, and its cost for other VPNs."""

from __future__ import annotations

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
    has,
    learned,
    log_tail,
    own,
    state,
    taken,
    to_pe,
)
from tests.attack.streams import BLUE_SECONDS, BOUND_KB, Growth, blue_notices, pour

RED, BLUE = circuit("red", 1), circuit("blue", 1)


@both
def test_bgp_04_max_prefix(net: Net, version: int) -> None:
    """A warning at four fifths; with one more than allowed Cease/1 (RFC 4486), said before the
    end; nothing of it stays, the session is held for two seconds and then taken again. Red's
    other routes and blue do not notice."""
    prefixes = own(plan.MAX_PREFIX + 1, version)
    with to_pe("blue", version) as blue, to_pe("red", version) as session:
        session.send(announce(*prefixes[: plan.MAX_PREFIX * 4 // 5]))
        assert until(lambda: "prefix_limit_near" in log_tail(net, 4000), SECONDS), "the warning"
        session.send(announce(*prefixes[: plan.MAX_PREFIX]))
        whole = plan.MAX_PREFIX
        assert until(lambda: len(learned(net, "red", version)) == whole, SECONDS), "control"
        assert session.alive, "control: as many as allowed are taken"
        session.send(announce(prefixes[-1]))
        assert session.ended(SECONDS) == (6, 1)
        assert len(session.bodies(bgp.NOTIFICATION)) == 1
        assert until(lambda: learned(net, "red", version) == set(), SECONDS)
        assert until(lambda: is_held(net, version), 2.0) or "idle_hold_expired" in log_tail(net)
        assert has(net, "red", "10.3.0.0/24")
        net.sentinel(RED)
        net.sentinel(BLUE)
        done(net, blue, "blue", version)
        assert blue.alive
    with to_pe("red", version) as again:
        taken(net, again, prefixes[0])


def is_held(net: Net, version: int) -> bool:
    """Return True while the session is held down."""
    found = state(net, "red", version)
    return found.state == found.SESSION_STATE_HELD_DOWN  # type: ignore[attr-defined,no-any-return]


def test_bgp_04_a_held_session_is_not_taken(net: Net) -> None:
    """With a hold that does not end by itself, the CE may knock as it likes; an operator lets it
    in again."""
    mark = f"max-prefix: {{maximum: {plan.MAX_PREFIX}, idle-hold: 2}}"

    def for_good(text: str) -> str:
        return text.replace(mark, mark.replace("idle-hold: 2", "idle-hold: 0"), 1)

    with edited(net, for_good):
        with to_pe() as session:
            session.send(announce(*own(plan.MAX_PREFIX + 1)))
            assert session.ended(SECONDS) == (6, 1)
        assert until(lambda: is_held(net, 4), SECONDS)
        for _ in range(3):
            near, mine = plan.gateway(1, 4), plan.ce(1, 4)
            knock = bgp.connect("ce-red-1", mine, near, md5=plan.KEYS["red"], seconds=1.0)
            if knock is not None:
                with knock:
                    knock.send(bgp.Greeting(AS).packed())
                    knock.listen(2.0, lambda k=knock: k.closed)  # type: ignore[misc]
                    assert knock.bodies(bgp.KEEPALIVE) == []
        net.pe1.clear_neighbor(plan.ce(1, 4), "red")
        with to_pe() as again:
            taken(net, again, "10.101.1.0/24")


@both
def test_bgp_04_a_million_routes_beyond_the_limit(net: Net, version: int) -> None:
    """The stream is cut off at the limit; memory does not grow with what is sent."""
    first = "10.1.0.0/16 le 24" if version == 4 else '"2001:db8:1::/48 le 64"'
    more = "11.0.0.0/8 le 32" if version == 4 else '"2a01::/16 le 64"'

    def open_wide(text: str) -> str:
        return text.replace(f"import: [{first}", f"import: [{more}, {first}", 1)

    with edited(net, open_wide), to_pe("blue") as blue:
        growth = Growth(net)
        with to_pe("red", version) as session:
            pour(session, version, growth.look)
            assert session.ended(SECONDS) == (6, 1)
        growth.look()
        assert blue_notices(net, blue, version) < BLUE_SECONDS
        assert blue.alive
        assert max(growth.most) < BOUND_KB, growth.most
        assert until(lambda: not learned(net, "red", version), SECONDS)


@both
def test_bgp_04_a_million_routes_that_are_not_the_customers(net: Net, version: int) -> None:
    """Each of them is refused and counted; the session stays, and memory does not grow."""
    with to_pe("blue") as blue, to_pe("red", version) as session:
        growth = Growth(net)
        before = state(net, "red", version).refused["policy"]  # type: ignore[attr-defined]
        pour(session, version, growth.look)
        assert blue_notices(net, blue, version) < BLUE_SECONDS
        done(net, session, "red", version)
        growth.look()
        refused = state(net, "red", version).refused["policy"] - before  # type: ignore[attr-defined]
        assert refused == 1_000_000, "control: all of them were received"
        assert max(growth.most) < BOUND_KB, growth.most
        assert session.alive
        assert blue.alive
