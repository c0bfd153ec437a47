"""Test LBL: a label from the core leads to its own VPN and nowhere else (RFC 4364 section 6)."""

from __future__ import annotations

import random

import pytest

from labs.attack import ip, link
from labs.attack.inside import run_in, sysctl
from labs.attack.listen import listener
from labs.attack.net import PROBE_PORT, Net, circuit, watching
from labs.attack.port import token
from labs.attack.spoof import inner, spoofed
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.labelled import CORE, P_LOOPBACK, from_core, from_red
from tests.attack.trial import Attack, arrives, control, held

RED, BLUE = circuit("red", 1), circuit("blue", 1)
CORE_OPEN = (Guard.EXPLICIT_NULL, Guard.INPUT)
both = pytest.mark.parametrize("version", [4, 6])


@pytest.mark.parametrize(
    ("label", "source", "target"),
    [
        (0, "10.0.1.2", "10.255.0.1"),
        (0, P_LOOPBACK, "10.255.0.1"),
        (2, "2001:db8:ee::1", "2001:db8:ff::1"),
    ],
    ids=["v4", "v4-as-p", "v6"],
)
@pytest.mark.parametrize("tags", [(), (0,)], ids=["untagged", "vid0"])
def test_lbl_07_explicit_null_from_the_core_port(
    net: Net, label: int, source: str, target: str, tags: tuple[int, ...]
) -> None:
    """Send explicit null, which enters the global table as if from ``lo`` and so bypasses the
    core's rules (T9)."""
    with listener("pe1", target) as delivered:

        def frames(mark: bytes) -> list[bytes]:
            packet = ip.udp(source, target, PROBE_PORT, mark)
            return [link.ethernet(CORE.mac, net.p.mac, link.MPLS,
                                  link.labelled([label], packet), tags)]  # fmt: skip

        mark = token()
        with Switch(net).off(*CORE_OPEN):
            net.p.send(*frames(mark))
            assert until(lambda: delivered(mark), 3.0), "control: nothing arrived"
        before, mark = net.dropped("core0", "LBL-7"), token()
        net.p.send(*frames(mark))
        net.sentinel(RED)
        assert until(lambda: net.dropped("core0", "LBL-7") == before + 1, 2.0)
        assert not delivered(mark)


@both
def test_lbl_08_from_the_core_with_the_filter_off(net: Net, version: int) -> None:
    """``lo`` takes no labels: without the filter the stack dies there all the same."""
    frames = spoofed(net.p, CORE.mac, [0, net.label("blue")], version)
    mark = token()
    with Switch(net).off(Guard.EXPLICIT_NULL), BLUE.ce.tap() as victim:
        net.p.send(*frames(mark))
        net.sentinel(RED)
        assert victim.count(mark) == 0
        sysctl("pe1", "mpls/conf/lo/input", "1")
        try:
            net.p.send(*frames(mark))
            assert victim.wait(mark, 3.0) == 1, "control: with lo open it arrives"
        finally:
            sysctl("pe1", "mpls/conf/lo/input", "0")


@both
def test_lbl_09_a_label_under_the_last_one(net: Net, version: int) -> None:
    """Send from the core a second label under a VRF's label: it is never looked up."""
    single = spoofed(net.p, CORE.mac, [net.label("red")], version)
    mark = token()
    with RED.ce.tap() as tap:
        net.p.send(*single(mark))
        assert tap.wait(mark, 3.0) == 1, "control: the label alone leads to red"
    double = spoofed(net.p, CORE.mac, [net.label("red"), net.label("blue")], version)
    attack = Attack(net.p, double, BLUE.ce, RED, bystanders=(RED.ce,))
    held(net, attack)


@both
def test_lbl_09_no_label_leaves_to_a_ce(net: Net, version: int) -> None:
    """A label route that ends at a CE (none of ours is one) forwards what is under it as MPLS."""
    whole = spoofed(net.p, CORE.mac, [15999, net.label("blue")], version)
    route = ("15999", "via", "inet", "192.168.1.2", "dev", "ce-red-1")
    run_in("pe1", "ip", "-f", "mpls", "route", "add", *route)
    try:
        attack = Attack(net.p, whole, RED.ce, RED, "ce-red-1", "LBL-9")
        control(net, attack, [Guard.EGRESS])
        held(net, attack)
    finally:
        run_in("pe1", "ip", "-f", "mpls", "route", "del", "15999")


RESERVED = (1, 3, 4, 7, 13, 14, 15)
FOREIGN = (23998, 32000, (1 << 20) - 1)


@both
@pytest.mark.parametrize("label", [*RESERVED, *FOREIGN])
def test_lbl_10_labels_that_are_not_allocated(net: Net, version: int, label: int) -> None:
    attack = from_core(net, [label], version)
    assert arrives(net, from_core(net, [net.label("blue")], version)), "control: a good label"
    held(net, attack)
    held(net, Attack(RED.ce, spoofed(RED.ce, RED.pe.mac, [label], version), BLUE.ce, RED,
                     "ce-red-1"))  # fmt: skip


@both
def test_lbl_10_no_bottom_of_stack(net: Net, version: int) -> None:
    held(net, from_core(net, [net.label("blue")], version, bottom=False))
    held(net, from_red(net, version, bottom=False))


@both
@pytest.mark.parametrize("ttl", [0, 1])
def test_lbl_11_label_ttl_runs_out(net: Net, version: int, ttl: int) -> None:
    assert arrives(net, from_core(net, [net.label("blue")], version, ttl=2)), "control: TTL 2"
    mark = token()
    with watching(net.p, BLUE.ce) as (core, victim):
        net.p.send(*from_core(net, [net.label("blue")], version, ttl=ttl).frames(mark))
        net.sentinel(RED)
        assert victim.count(mark) == 0
        assert core.count(mark) == 0, "no ICMP error is sent"
    held(net, from_red(net, version, ttl=ttl))


def test_lbl_12_what_is_no_packet_under_a_label(net: Net) -> None:
    """Wrong versions, cut headers and noise under a good label: nothing arrives, nothing breaks."""
    label = net.label("blue")
    mark = token()
    good = inner(4, mark)
    dice = random.Random(4364)  # noqa: S311 - the same noise each time
    payloads = [bytes([nibble << 4 | 5]) + good[1:] for nibble in range(16) if nibble not in (4, 6)]
    payloads += [good[:length] for length in range(20)]
    payloads += [inner(6, b"")[:length] for length in range(0, 40, 3)]
    payloads += [dice.randbytes(dice.randrange(1, 200)) for _ in range(200)]
    before = kernel_complaints()
    with watching(BLUE.ce, net.p) as (victim, core):
        for sender, receiver in ((net.p, CORE.mac), (RED.ce, RED.pe.mac)):
            for payload in payloads:
                frame = link.ethernet(
                    receiver, sender.mac, link.MPLS, link.labelled([label], payload)
                )
                sender.send(frame)
        net.sentinel(RED)
        arrived = [f for f in victim.frames() if f[12:14] in (b"\x08\x00", b"\x86\xdd")]
        assert [f for f in arrived if good[20:] not in f and f[14] >> 4 not in (4, 6)] == []
        assert core.count(mark) == 0
    assert kernel_complaints() == before
    net.sentinel(BLUE)


def kernel_complaints() -> int:
    """Oopses and warnings in the kernel's log."""
    text = run_in("pe1", "dmesg", check=False)
    return sum(word in text for word in ("BUG:", "Oops", "WARNING:", "general protection"))
