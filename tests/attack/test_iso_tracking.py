"""Test ISO-8 and ISO-9: connections and fragments of two VPNs with equal addresses stay apart."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from labs.attack import ip, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Circuit, Net, circuit, watching
from labs.attack.port import token
from labs.attack.switch import Switch
from pe.model.guards import Guard
from tests.attack.trial import Attack, arrives, held

RED, BLUE = circuit("red", 1), circuit("blue", 1)
both = pytest.mark.parametrize("version", [4, 6])


@contextlib.contextmanager
def only_established(port: str) -> Iterator[None]:
    """A default deny beside the node's rules: what is not part of a flow does not leave there."""
    rules = "".join(
        f"add chain inet lab_policy {hook} {{ type filter hook {hook} priority 5; }}\n"
        f'add rule inet lab_policy {hook} oifname "{port}" udp dport {{ 4713, 4714 }} '
        "ct state != established counter drop\n"
        for hook in ("forward", "output")
    )
    run_in("pe1", "nft", "-f", "-", stdin="add table inet lab_policy\n" + rules)
    try:
        yield
    finally:
        run_in("pe1", "nft", "delete", "table", "inet", "lab_policy")


def flow(origin: Circuit, target: Circuit, version: int, mark: bytes, reply: bool) -> bytes:
    """Return a packet of the one flow whose five-tuple both VPNs use."""
    sport, dport = (4714, 4713) if reply else (4713, 4714)
    source, to = plan.lan(origin.site, version), plan.lan(target.site, version)
    return origin.frame(ip.udp(source, to, dport, mark, sport=sport))


@both
@pytest.mark.parametrize("reply", [False, True], ids=["original", "reply"])
def test_iso_08_a_flow_of_the_other_vpn(net: Net, version: int, reply: bool) -> None:
    """Red has a flow from site 3 to site 1; blue replays its five-tuple against a default deny."""

    def red_flow() -> None:
        three = circuit("red", 3)
        for origin, target, back in ((three, RED, False), (RED, three, True)):
            mark = token()
            with target.ce.tap() as tap:
                origin.ce.send(flow(origin, target, version, mark, back))
                assert tap.wait(mark, 3.0) == 1, "red's own flow"

    origin, target = (BLUE, circuit("blue", 3)) if reply else (circuit("blue", 3), BLUE)
    attack = Attack(
        origin.ce,
        lambda mark: [flow(origin, target, version, mark, reply)],
        target.ce,
        origin,
    )
    with only_established(target.pe.name):
        with Switch(net).off(Guard.ZONES):
            flush_flows()
            red_flow()
            assert arrives(net, attack), "control: without zones it is red's flow"
            flush_flows()
        flush_flows()
        red_flow()
        held(net, attack)


def flush_flows() -> None:
    """Forget what is tracked."""
    run_in("pe1", "conntrack", "-F", check=False)


@both
def test_iso_08_replies_from_the_core_belong_to_their_flow(net: Net, version: int) -> None:
    """Zones are set in OUTPUT too: else no reply from a remote site is known (T5)."""
    far = circuit("red", 2)
    with only_established("ce-red-1"):
        stray, mark, reply = token(), token(), token()
        with watching(RED.ce, far.ce) as (near, there):
            far.ce.send(flow(far, RED, version, stray, True))
            net.sentinel(circuit("red", 3))
            assert near.count(stray) == 0, "not part of a flow yet"
            RED.ce.send(flow(RED, far, version, mark, False))
            assert there.wait(mark, 3.0) == 1
            far.ce.send(flow(far, RED, version, reply, True))
            assert near.wait(reply, 3.0) == 1, "the reply is established"


@both
def test_iso_09_fragments_of_two_vpns(net: Net, version: int) -> None:
    """Equal source, target and identification: halves of two VPNs are never joined."""
    source, target = plan.lan(3, version), plan.lan(1, version)
    marks = {vpn: (token(), token()) for vpn in ("red", "blue")}

    def halves(vpn: str, ident: int) -> list[bytes]:
        first, second = marks[vpn]
        whole = ip.udp(source, target, PROBE_PORT, first.ljust(56, b".") + second.ljust(64, b"."))
        origin = circuit(vpn, 3)
        return [origin.frame(piece) for piece in ip.fragments(whole, 64, ident)]

    red, blue = circuit("red", 3).ce, circuit("blue", 3).ce
    with watching(RED.ce, BLUE.ce) as (red_eye, blue_eye):
        red.send(*halves("red", 77))
        assert red_eye.wait(marks["red"][1], 3.0), "control: red's own two halves"
        red_eye.clear()
        red.send(halves("red", 78)[0])
        blue.send(halves("blue", 78)[1])
        net.sentinel(BLUE)
        seen = [f for f in (*red_eye.frames(), *blue_eye.frames()) if b"token" in f]
        assert [f for f in seen if whole_datagram(f)] == []
        mixed = [f for f in blue_eye.frames() if marks["red"][0] in f or marks["red"][1] in f]
        assert mixed == []
        blue.send(halves("blue", 78)[0])
        assert blue_eye.wait(marks["blue"][0], 3.0), "blue's datagram is whole from its own"
        assert not blue_eye.count(marks["red"][0])
        assert not red_eye.count(marks["blue"][1])


def whole_datagram(frame: bytes) -> bool:
    """Return True if both halves' tokens are in one frame."""
    return len(re.findall(rb"token\d{7}", frame)) > 1
