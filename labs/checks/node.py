"""What a lab asks a Bulkhead node."""

from __future__ import annotations

import json
from typing import Any

from labs.lab import RunningLab
from labs.peers.pe import API, command


def show(lab: RunningLab, node: str, *what: str) -> Any:
    """``pe show … --json`` on a node, parsed."""
    done = lab.run(node, command(), "show", *what, "--json", "--socket", API)
    return json.loads(done.stdout)


def established(lab: RunningLab, node: str, count: int) -> bool:
    """Return True if a node has ``count`` sessions and all are established."""
    return len(show(lab, node, "neighbors")) == count and all_established(lab, node)


def all_established(lab: RunningLab, node: str) -> bool:
    """Return True if all sessions of a node are established."""
    return all(n["state"] == "established" for n in show(lab, node, "neighbors"))


def sessions_text(lab: RunningLab, node: str) -> str:
    """A node's sessions in one line."""
    return ", ".join(
        f"{n['address']}{'%' + n['vrf'] if n['vrf'] else ''} {n['state']}"
        for n in show(lab, node, "neighbors")
    )
