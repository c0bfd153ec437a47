"""BGP-13: the process that speaks BGP, and what the node believes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labs.attack import link, plan
from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net, circuit
from labs.waiting import until
from tests.attack.speech import (
    SECONDS,
    done,
    has,
    learned,
    node_pid,
    taken,
    to_pe,
    workers,
)

RED = circuit("red", 1)


def test_bgp_13_listeners_are_bound_to_their_vrf(net: Net) -> None:
    """Every listening socket of port 179 is tied to a VRF, or to the core's own addresses, and
    accepts for no other; none accepts for all VRFs."""
    listening = run_in("pe1", "ss", "-Hltn", "sport = :179").splitlines()
    places = {line.split()[3].rpartition(":")[0] for line in listening}
    wanted = {"192.168.1.1%red", "[2001:db8:f1::1]%red", "192.168.1.1%blue",
              "[2001:db8:f1::1]%blue"}  # fmt: skip
    assert wanted <= places, places
    core = {place for place in places if "%" not in place}
    assert core <= {"10.255.0.1", "[2001:db8:ff::1]"}, "unbound listeners are of the core's own"
    assert sysctl("pe1", "ipv4/tcp_l3mdev_accept") == "0"


def test_bgp_13_the_worker_may_do_nothing(net: Net) -> None:
    """Not root, no capability but that of its port, and no way to more of them."""
    found = workers(net)
    assert {"", "red", "blue"} <= set(found)
    bind = 1 << 10  # CAP_NET_BIND_SERVICE
    for pid in found.values():
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        for name in ("CapEff", "CapPrm", "CapBnd"):
            assert int(fields[name], 16) & ~bind == 0, (name, fields[name])
        assert fields["NoNewPrivs"].strip() == "1"
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        for key in plan.KEYS.values():
            assert key.encode() not in command + environment


@contextmanager
def mouth_of(pid: int) -> Iterator[object]:
    """The pipe through which a worker reports to the node: its third descriptor argument."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    at = words.index(b"controlplane.speaker.worker")
    with Path(f"/proc/{pid}/fd/{words[at + 3].decode()}").open("wb", buffering=0) as mouth:
        yield mouth


BLUES_ROUTE = (
    b'{"t":"update","peer":"192.168.3.2","announce":[["ipv4 unicast","192.168.3.2","GApjAQ=="]]}'
)
GARBAGE = [
    b"\0" * 5000,
    b"x" * (3 << 20),
    b"{" * 100_000,
    b'{"t":"update"}',
    b'{"t":"up","peer":"192.168.1.2","session":-1,"families":[[]]}',
    b'{"t":"update","peer":"192.168.1.2","announce":[["ipv4 unicast","nonsense","GAplAQ=="]]}',
    b'{"t":"update","peer":"192.168.1.2","announce":[["ipv4 mpls-vpn","192.168.1.2","cABO"]]}',
    b'{"t":"update","peer":"192.168.1.2","announce":[["ipv4 unicast","192.168.1.2","/woAAAA="]]}',
    b'{"t":"log","level":"no such level","text":"' + b"y" * 100_000 + b'"}',
    b'{"t":"malformed","peer":"192.168.1.2","handling":"","reason":"","message":"",'
    b'"routes":[[[1,1],"/w=="]]}',
    b"\xff\xfe\xfd",
    BLUES_ROUTE,
]


def test_bgp_13_a_worker_that_was_taken_over(net: Net) -> None:
    """Red's worker writes garbage, lines without end and routes of peers that are not its own:
    the node goes on, red's session too, and nothing of it is in any VRF."""
    pid, red_worker = node_pid(net), workers(net)["red"]
    with to_pe() as session, to_pe("blue") as blue:
        with mouth_of(red_worker) as mouth:
            for line in GARBAGE:
                mouth.write(b"\n" + line + b"\n")  # type: ignore[attr-defined]
        taken(net, session, "10.101.6.0/24")
        taken(net, blue, "10.101.6.0/24", vrf="blue")
        assert node_pid(net) == pid
        assert workers(net)["red"] == red_worker
        assert session.alive
        assert blue.alive
        assert learned(net) == {"10.101.6.0/24"}
        assert not any(has(net, vrf, "10.99.1.0/24") for vrf in ("red", "blue", "internet"))
        assert "speaker_line_malformed" in net.lab.log("pe1", "pe")


def test_bgp_13_control_a_line_is_read(net: Net) -> None:
    """What the worker says of its own peers does count: the pipe is the right one."""
    line = b'{"t":"update","peer":"192.168.1.2","attributes":{"as_path":[[2,[65101]]]},'
    line += b'"announce":[["ipv4 unicast","192.168.1.2","GAplBw=="]]}'
    with to_pe() as session:
        # The node has read by then that the session is up: before that it believes no route of it.
        taken(net, session, "10.101.6.0/24")
        with mouth_of(workers(net)["red"]) as mouth:
            mouth.write(line + b"\n")  # type: ignore[attr-defined]
        assert until(lambda: "10.101.7.0/24" in learned(net), SECONDS), net.lab.log("pe1", "pe")
        assert session.alive


def test_bgp_13_a_worker_that_dies_is_started_again(net: Net) -> None:
    """Its sessions come up again; those of the other VRF and the core never went down."""
    import os
    import signal

    with to_pe("blue") as blue, to_pe() as session:
        old = workers(net)["red"]
        os.kill(old, signal.SIGKILL)
        session.listen(SECONDS, lambda: session.closed)
        assert session.closed
        with to_pe() as again:
            taken(net, again, "10.101.8.0/24")
            assert workers(net)["red"] != old
        done(net, blue, "blue")
        assert blue.alive
        assert net.core_is_up()


def test_bgp_00_labels_are_what_the_core_sees(net: Net) -> None:
    """A check of the lab: what red sends to its other site crosses P under two labels."""
    from labs.packets import labels_of

    with net.p.tap() as tap:
        net.sentinel(RED)
        stacks = [labels_of(f) for f in tap.frames() if f[12:14] == link.MPLS.to_bytes(2, "big")]
    assert any(len(stack) == 2 for stack in stacks)
