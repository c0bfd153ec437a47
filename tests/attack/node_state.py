"""What pe1 counts, and the rules in force in its kernel."""

from __future__ import annotations

from labs.attack.inside import run_in
from labs.attack.net import Net


def counter(net: Net, name: str) -> int:
    """Return one of the node's own counters, of all its labels together."""
    return sum(c.value for c in net.pe1.show_counters() if c.name == name)


def rules() -> list[str]:
    """Return the rules in force, counters' figures left out, each chain once. While a transaction
    is being refused a listing may show a chain again, without rules: going on with a dump,
    nf_tables_dump_chains counts chains that are not committed, and had not counted them before."""
    listed = run_in("pe1", "nft", "-s", "list", "ruleset").splitlines()
    found: list[str] = []
    table, again, seen = "", False, set[tuple[str, str]]()
    for line in listed:
        if line.startswith("table "):
            table = line
        elif line.startswith("\tchain "):
            again = (table, line) in seen
            seen.add((table, line))
        if line and not again and "expires" not in line and "elements" not in line:
            found.append(line)
        again = again and line != "\t}"
    return found
