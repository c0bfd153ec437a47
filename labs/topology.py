"""A lab as typed data: nodes, the links between them, and the checks that it makes.

Write one file in ``labs/topologies/`` (or anywhere, and give its path to ``pe lab``) that
defines ``LAB``::

    from labs.topology import End, Lab, Link, Node, Outcome

    def reaches(lab):
        ping = lab.run("a", "ping", "-c1", "-W2", "10.0.0.2", check=False)
        yield Outcome(ping.returncode == 0, "a reaches b", ping.stdout.splitlines()[-1])

    LAB = Lab(
        name="pair",
        title="two hosts on one wire",
        nodes=(Node("a"), Node("b")),
        links=(Link(End("a", "eth0", ("10.0.0.1/30",)), End("b", "eth0", ("10.0.0.2/30",))),),
        checks=(reaches,),
    )

Every node is a network namespace of its own name (``ip netns exec a ...``) with a directory
for its files, logs and sockets. In the text of files, arguments and commands, ``{dir}``
stands for that directory; other braces are left alone. What is brought up in which order:
namespaces and loopback addresses, links with their addresses, sysctls, ``setup`` commands,
then the programs, the first of every node, then the second, and so on. Programs for the
routing daemons of other projects come from ``labs.peers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from labs.lab import RunningLab

_T = TypeVar("_T")
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found: whether the claim ``title`` holds, and by what one sees it."""

    ok: bool
    title: str
    evidence: str = ""


Check = Callable[["RunningLab"], Iterable[Outcome]]
"""Makes claims about a running lab, one after the other; an exception is a failed claim."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process that runs in the foreground on a node for as long as the lab is up.

    ``files`` maps names to texts written before the start, ``directories`` are made then;
    names are relative to the node's directory unless they begin with ``/``. ``owner`` is
    the user that both are given to (the program itself starts as root). ``ready`` is a
    file, a socket mostly, whose appearance says that it runs; None if nothing does.
    """

    name: str
    argv: Command
    files: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    owner: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str | None = None
    ready_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Node:
    """A network namespace and what happens in it.

    ``addresses`` go on its loopback device (``192.0.2.1/32``). ``sysctls`` are pairs of
    dotted names and values. ``setup`` are commands, run as root in the namespace.
    """

    name: str
    role: str = "host"
    addresses: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[Command, ...] = ()
    programs: tuple[Program, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: the node, the device's name there, its addresses, its MAC.

    ``up=False`` leaves the device down and without its addresses' routes: for a port that
    a PE takes over, which must not be up before the PE has put it into its VRF.
    """

    node: str
    port: str
    addresses: tuple[str, ...] = ()
    mac: str | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A virtual Ethernet cable between two nodes; ``mtu`` in bytes."""

    a: End
    b: End
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab. Raises ValueError when it contradicts itself."""

    name: str
    title: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        ports = [(end.node, end.port) for link in self.links for end in (link.a, link.b)]
        problems = [
            *(f"two nodes are called {name}" for name in _twice(names)),
            *(f"port {port} of {node} is used twice" for node, port in _twice(ports)),
            *(f"port {port} is on no node: {node}" for node, port in ports if node not in names),
            *(
                f"device names have 15 letters at most: {port}"
                for _, port in ports
                if len(port) > 15
            ),
        ]
        if problems:
            raise ValueError(f"lab {self.name}: " + "; ".join(problems))

    def node(self, name: str) -> Node:
        """Return the node called ``name``; raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


def _twice(values: list[_T]) -> list[_T]:
    return sorted({value for value in values if values.count(value) > 1}, key=str)
