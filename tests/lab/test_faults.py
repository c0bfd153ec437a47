"""Every call of a real node fails once, with two VRFs under traffic, and no packet is lost.

The calls to the kernel are those of ``tests/faults/adapters.py``, each with an error that it can
have and with one that it cannot have; then the store, the audit log and the speaker. Afterwards the
kernel is as it was before the changes (read with ``ip`` and ``nft``, not with the node's code), or
the node has logged why it ended. One node serves all faults: a start takes longer than a story.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import grpc
import pytest

from controlplane.model.verdict import EPOCH_MASK
from labs.lab import running
from labs.waiting import until
from pe.netlink.ownership import PROTOCOL
from tests.faults.adapters import ERRORS
from tests.lab.two_vrf_node import LAB, LATER, TOUCHED, VRFS, Bench

pytestmark = pytest.mark.lab

KERNEL = [
    (call, error)
    for call, codes in ERRORS.items()
    for error in (errno.errorcode[codes[0]], "KeyError")
]
LOGGED = (
    "kernel_refused", "kernel_events_lost", "part_failed", "policy_maps_repaired",
)  # fmt: skip
UNLOGGED = (".create", ".replace", ".remove")
"""A next hop that fails once is made again at once, and is no line in the journal."""
REFUSED = [
    ("EmbeddedStore.save_labels", "ENOSPC"),
    ("EmbeddedStore.save_attachment", "ENOSPC"),
    ("AuditLog.write", "ENOSPC"),
    ("AuditLog.write", "KeyError"),
]
SPEAKER = [("process.launch", "EAGAIN"), ("SpeakerProcess._readable", "KeyError")]
ENDS = [
    ("EmbeddedStore.save_labels", "KeyError"),
    ("SpeakerPool.configure", "KeyError"),
    ("process.launch", "ValueError"),
]
KERNEL_STATE = """\
for family in -4 -6; do ip $family route show table all; ip $family rule; done
ip -f mpls route
ip -br -d addr | sed 's/ fe80:[^ ]*//'
ip nexthop | wc -l
grep -H . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter \\
  /proc/sys/net/mpls/conf/*/input
nft -s list ruleset
"""


def kernel(bench: Bench) -> Counter[str]:
    """Read the lines of the node's kernel state, without the numbers that the kernel chooses."""
    text = bench.lab.run("pe1", "sh", "-c", KERNEL_STATE).stdout
    text = re.sub(r"elements = \{[^}]*\}", "", text)  # identities and what rules have counted
    text = re.sub(r"nhid \d+ |@if\d+", "", text)
    # Epochs of the policy tables: a start counts them anew.
    text = re.sub(r"ct mark .*", _without_epoch, text)
    lines = (line.strip() for line in text.splitlines())
    return Counter(line for line in lines if line)  # of a set without elements nothing is left


def _without_epoch(rule: re.Match[str]) -> str:
    return re.sub(r"0x\w+", lambda n: hex(int(n[0], 16) & ~EPOCH_MASK), rule[0])


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    # Story by story the node has more faults in a minute than it goes on with.
    with running(LAB) as lab, closing((made := Bench(lab, counted=1.0)).systemd):
        made.start()
        with made.client() as client:
            client.segment.attach("web", "red", "red-a", ["192.168.1.2"], {"turn": "0"})
        assert until(made.in_sync, 20.0), made.log()[-2000:]
        yield made


@pytest.fixture(scope="module")
def before(bench: Bench) -> Counter[str]:
    """The kernel's state before any fault."""
    grow(bench)  # devices and tables of a VRF that was there once
    bench.reload()
    assert until(bench.in_sync, 20.0)
    found = kernel(bench)
    assert sum(LATER in line for line in found) == 0
    return found


@pytest.fixture(autouse=True)
def traffic(bench: Bench, before: Counter[str]) -> Iterator[None]:
    """Packets in both VRFs while a story runs; none of them may be lost."""
    assert before
    for vrf in VRFS:
        bench.lab.run(f"{vrf}-a", "ping", "-n", "-c1", "-w10", "10.9.0.1")  # neighbours are known
    pings = [bench.ping(vrf) for vrf in VRFS]
    yield
    for ping in pings:
        ping.send_signal(2)
        said = ping.communicate(timeout=10)[0]
        assert " 0% packet loss" in said, said


# -- what happens while a call fails ----------------------------------------------------------


def grow(bench: Bench) -> None:
    """A VRF with a BGP session comes, and a route behind a next hop of its own."""
    bench.reload(later=True, green=True)


def tag(bench: Bench) -> None:
    """A workload changes its tags, and so its identity."""
    with bench.client() as client:
        (known,) = client.segment.list_workloads()
        client.segment.tag("web", {"turn": str(int(known.tags["turn"]) + 1)})


def flap(bench: Bench) -> None:
    """The carrier of the port behind which the route is goes and comes."""
    for state in ("down", "up", "down", "up"):
        bench.lab.run("red-c", "ip", "link", "set", "eth0", state)
    bench.lab.run("red-c", "ip", "route", "replace", "default", "via", "192.168.3.1")


def meddle(bench: Bench) -> None:
    """Another program changes what is the node's, and the kernel loses notifications of it."""
    bench.arm("EventSocket.read", "ENOBUFS")
    alter(bench)


def alter(bench: Bench) -> None:
    for words in (
        f"route del vrf blue {TOUCHED}",
        "route flush vrf blue type unreachable",
        "addr del 192.168.3.1/30 dev blue-c",
        "route add 10.50.0.0/16 via 10.0.1.2",
        "route del 10.50.0.0/16 via 10.0.1.2",
    ):
        bench.lab.run("pe1", "ip", *words.split())
    bench.lab.run("pe1", "sysctl", "-qw", "net.ipv4.conf.blue-c.forwarding=0")


def add_chain(bench: Bench) -> None:
    """Another program changes our tables' chains."""
    bench.lab.run("pe1", "nft", "add chain inet bulkhead strange")


def add_element(bench: Bench) -> None:
    """Another program changes nothing but an element of our tables."""
    bench.lab.run("pe1", "nft", 'add element arp bulkhead known { "strange0" }')


def redirect(bench: Bench) -> None:
    """Another program changes where a next hop leads."""
    listed = bench.lab.run("pe1", "ip", "nexthop", "show", "dev", "red-c").stdout
    (number,) = re.findall(r"^id (\d+) via 192\.168\.3\.2 ", listed, re.M)
    bench.lab.run("pe1", *f"ip nexthop replace id {number} dev red-c proto {PROTOCOL}".split())


def shrink(bench: Bench) -> None:
    bench.reload()


STEPS: tuple[Callable[[Bench], None], ...] = (grow, tag, flap, alter, meddle)
ONLY_AFTER: dict[str, Callable[[Bench], None]] = {
    "NextHopWriter.replace": redirect,
    "RulesetReader.present": add_chain,
    "RulesetReader.elements_at": add_element,
}
"""Calls that the steps above do not make."""


def as_before(bench: Bench, before: Counter[str]) -> bool:
    return bench.in_sync() and kernel(bench) == before


def follows(bench: Bench, before: Counter[str]) -> None:
    """Wait until the node is in sync and the kernel as it was."""
    if not until(lambda: as_before(bench, before), 25.0):
        found = kernel(bench)
        raise AssertionError((before - found, found - before, bench.log()[-1500:]))


@contextmanager
def new_lines(bench: Bench) -> Iterator[list[str]]:
    """The lines that the journal gets meanwhile, there afterwards."""
    start, lines = len(bench.log()), list[str]()
    yield lines
    lines += bench.log()[start:].splitlines()


@pytest.mark.parametrize(("call", "error"), KERNEL)
def test_a_call_to_the_kernel_fails_once(
    bench: Bench, before: Counter[str], call: str, error: str
) -> None:
    process = bench.lab.pid("pe1", "pe")
    with new_lines(bench) as lines:
        bench.arm(call, error)
        if (alone := ONLY_AFTER.get(call)) is not None:
            grow(bench)
            assert until(bench.in_sync, 25.0)  # a load under way may put it right without the call
            alone(bench)
            until(lambda: bench.fired(call) > 0, 10.0)
        else:
            for step in STEPS:
                step(bench)
                if step is not grow and bench.fired(call):
                    break
        shrink(bench)
        assert until(lambda: bench.fired(call) > 0, 10.0), "no step makes this call"
        bench.disarm()
        follows(bench, before)
    assert bench.lab.pid("pe1", "pe") == process
    said = any(f"event={event}" in line for event in LOGGED for line in lines)
    assert said or (error != "KeyError" and call.endswith(UNLOGGED))


@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_a_change_that_cannot_be_kept_is_refused_and_made_the_next_time(
    bench: Bench, before: Counter[str], call: str, error: str
) -> None:
    change = tag if call.endswith("attachment") else grow
    bench.arm(call, error)
    with pytest.raises(grpc.RpcError):
        change(bench)
    assert bench.fired(call) == 1
    follows(bench, before)
    change(bench)  # the control
    assert change is tag or LATER in bench.routes("red")
    shrink(bench)
    follows(bench, before)


@pytest.mark.parametrize(("call", "error"), SPEAKER)
def test_a_worker_that_fails_is_started_again(
    bench: Bench, before: Counter[str], call: str, error: str
) -> None:
    with new_lines(bench) as lines:
        bench.arm(call, error)
        grow(bench)
        assert until(lambda: bench.fired(call) == 1, 10.0)
        assert until(lambda: bench.log().count("event=speaker_started") > 0, 10.0)
        assert until(lambda: bench.health("speaker") == "SERVING", 20.0)
        shrink(bench)
        follows(bench, before)
    assert any("event=speaker_start_failed" in x or "part=speaker" in x for x in lines)


@pytest.mark.parametrize(("call", "error"), ENDS)
def test_what_cannot_be_is_said_and_ends_the_node(
    bench: Bench, before: Counter[str], call: str, error: str
) -> None:
    """The kernel goes on meanwhile; the next start has what was in force."""
    with new_lines(bench) as lines:
        bench.arm(call, error)
        with suppress(grpc.RpcError):  # the answer, or the connection's end
            grow(bench)
        assert until(lambda: bench.lab.pid("pe1", "pe") is None, 20.0)
    assert any("event=node_failed part=router" in line for line in lines)
    assert any(f"injected into {call}" in line for line in lines)
    bench.start()
    follows(bench, before)
