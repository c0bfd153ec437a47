"""The smallest lab that needs the lab kernel: a VRF at one end, label switching between.

    a (VRF red) ---- p (labels only) ---- b

``p`` has no route to either loopback: what passes it does so by label alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labs.topology import End, Lab, Link, Node, Outcome

if TYPE_CHECKING:
    from labs.lab import RunningLab

TO_B, TO_A = "100", "200"
A, B = "10.0.0.1", "10.0.0.2"


def _edge(address: str, peer: str, gateway: str, out: str, own: str, vrf: str | None) -> Node:
    """A node with ``address`` that pushes ``out`` towards ``peer`` and pops ``own``."""
    device = vrf or "lo"
    table = ("table", "10") if vrf else ()
    push = ("ip", "route", "add", f"{peer}/32", "encap", "mpls", out)
    isolate = (
        ("ip", "link", "add", vrf, "type", "vrf", "table", "10"),
        ("ip", "link", "set", vrf, "up"),
    )
    return Node(
        "a" if vrf else "b",
        sysctls={"net.mpls.platform_labels": "1000", "net.mpls.conf.core.input": "1"},
        setup=(
            *(isolate if vrf else ()),
            ("ip", "addr", "add", f"{address}/32", "dev", device),
            (*push, "via", gateway, "dev", "core", "src", address, *table),
            ("ip", "-f", "mpls", "route", "add", own, "dev", device),
        ),
    )


def _swap(label: str, gateway: str, port: str) -> tuple[str, ...]:
    route = ("ip", "-f", "mpls", "route", "add", label, "as", label)
    return (*route, "via", "inet", gateway, "dev", port)


def crosses_by_label(lab: RunningLab) -> Iterator[Outcome]:
    """The ping passes, and only because p switches the label."""
    ping = ("ip", "vrf", "exec", "red", "ping", "-c1", "-W2", B)
    reached = lab.run("a", *ping, check=False)
    yield Outcome(reached.returncode == 0, "a in VRF red reaches b", _reply(reached.stdout))
    lab.run("p", "ip", "-f", "mpls", "route", "del", TO_B)
    lost = lab.run("a", *ping, check=False)
    lab.run("p", *_swap(TO_B, "192.0.2.6", "b"))
    yield Outcome(lost.returncode == 1, "without the label in p it does not", _reply(lost.stdout))
    route = lab.run("p", "ip", "route", "get", B, check=False)
    yield Outcome(route.returncode != 0, "p knows no route to b", route.stderr.strip())


def _reply(said: str) -> str:
    return next((line for line in said.splitlines() if "packets" in line or "time=" in line), "")


LAB = Lab(
    name="wire",
    title="a VRF reaches a host by label alone",
    nodes=(
        _edge(A, B, "192.0.2.2", TO_B, TO_A, "red"),
        Node(
            "p",
            role="p",
            sysctls={
                "net.mpls.platform_labels": "1000",
                "net.mpls.conf.a.input": "1",
                "net.mpls.conf.b.input": "1",
            },
            setup=(_swap(TO_B, "192.0.2.6", "b"), _swap(TO_A, "192.0.2.1", "a")),
        ),
        _edge(B, A, "192.0.2.5", TO_A, TO_B, None),
    ),
    links=(
        Link(End("a", "core", ("192.0.2.1/30",)), End("p", "a", ("192.0.2.2/30",))),
        Link(End("b", "core", ("192.0.2.6/30",)), End("p", "b", ("192.0.2.5/30",))),
    ),
    checks=(crosses_by_label,),
)
