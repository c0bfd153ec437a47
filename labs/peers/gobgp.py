"""GoBGP on a node, from the distribution's package ``gobgpd``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labs.topology import Program

if TYPE_CHECKING:
    from labs.lab import RunningLab

PORT = "50051"


def program(config: str) -> Program:
    """Return gobgpd with a configuration in TOML; it answers on loopback within its node."""
    return Program(
        name="gobgpd",
        argv=(
            *("gobgpd", "-f", "{dir}/gobgpd.toml", "--api-hosts", f"127.0.0.1:{PORT}"),
            *("--pprof-disable", "--log-plain"),
        ),
        files={"gobgpd.toml": config},
    )


def gobgp(lab: RunningLab, node: str, *words: str) -> str:
    """Run the client on a node and return what it prints; LabError if it fails."""
    return lab.run(node, "gobgp", "-p", PORT, *words).stdout


def query(lab: RunningLab, node: str, *words: str) -> Any:
    """Run the client with JSON output, decoded (``query(lab, "rr", "neighbor")``)."""
    return json.loads(gobgp(lab, node, "-j", *words))
