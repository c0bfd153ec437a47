"""FRR on a node, from the distribution's package: a directory, sockets and pids of its own.

Example: ``Node("rr", programs=frr.programs("rr", CONFIG, ("zebra", "bgpd")))``, and in a
check ``frr.query(lab, "rr", "show bgp ipv4 vpn summary json")``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labs.topology import Program

if TYPE_CHECKING:
    from labs.lab import RunningLab

DAEMONS = "/usr/lib/frr"
STATE = "/run/frr"

# ldpd insists on an IPv4 router id from zebra; all want zebra's socket there when they
# start, or they retry after ten seconds only: so zebra comes first and is waited for.
ORDER = ("zebra", "staticd", "ospfd", "ospf6d", "isisd", "ldpd", "bfdd", "bgpd")


def programs(node: str, config: str, daemons: tuple[str, ...] = ("zebra",)) -> tuple[Program, ...]:
    """Return the programs that run ``daemons`` on ``node`` with one integrated ``config``.

    Every daemon reads the same text, and is silent about lines that are not its own.
    ``node`` is the node's name, which keeps its sockets apart from those of other nodes.
    """
    ordered = sorted({"zebra", *daemons}, key=ORDER.index)
    return tuple(_program(node, daemon, config) for daemon in ordered)


def _program(node: str, daemon: str, config: str) -> Program:
    state = f"{STATE}/{node}"
    return Program(
        name=daemon,
        argv=(
            *(
                f"{DAEMONS}/{daemon}",
                "-N",
                node,
                "-f",
                "{dir}/frr.conf",
                "-i",
                f"{state}/{daemon}.pid",
            ),
            *("--vty_socket", state, "-A", "127.0.0.1", "-P", "0"),
            *("--log", "stdout", "--log-level", "informational"),
        ),
        files={"frr.conf": config},
        directories=(state,),
        owner="frr",
        ready=f"{state}/{daemon}.vty",
    )


def vtysh(lab: RunningLab, node: str, *commands: str) -> str:
    """Run commands in vtysh on a node and return what they print; LabError if one fails."""
    words = [word for command in commands for word in ("-c", command)]
    return lab.run(node, "vtysh", "--vty_socket", f"{STATE}/{node}", *words).stdout


def query(lab: RunningLab, node: str, command: str) -> Any:
    """Return the JSON that a ``show ... json`` command prints, decoded."""
    return json.loads(vtysh(lab, node, command))
