"""What pe1 counts, and the rules in force in its kernel."""

from __future__ import annotations

from labs.attack.inside import run_in
from labs.attack.net import Net
from labs.attack.switch import standing_still


def counter(net: Net, name: str) -> int:
    """Return one of the node's own counters, of all its labels together."""
    return sum(c.value for c in net.pe1.show_counters() if c.name == name)


def rules(net: Net) -> list[str]:
    """Return the rules in force, counters' figures left out. The node stands still meanwhile:
    beside a transaction that is being refused a listing shows some rules twice, because a dump
    that goes on counts what is not committed (nf_tables_dump_rules, nf_tables_dump_chains), and
    a refusal does not change the generation by which nft finds an interrupted listing."""
    with standing_still(net):
        listed = run_in("pe1", "nft", "-s", "list", "ruleset").splitlines()
    return [line for line in listed if line and "expires" not in line and "elements" not in line]
