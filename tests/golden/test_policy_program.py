"""The chains that judge packets, rule by rule. ``python -m tests.golden.test_policy_program``
writes the file anew; read the difference before you keep it."""

from __future__ import annotations

from pathlib import Path

from pe.nft.model import Table
from pe.policy.program import Layout, program

FILE = Path(__file__).with_suffix(".txt")
LAYOUT = Layout(frozenset({10, 20}), staged=True)


def _lines(made: Table) -> list[str]:
    lines = [f"counter {name}" for name in sorted(made.counters)]
    for name, kind in made.sets.items():
        interval = " interval" if kind.interval else ""
        lines.append(f"map {name}: {' . '.join(kind.fields)} -> {kind.value}{interval}")
    for name, chain in made.chains.items():
        lines.append(f"chain {name}" + (f" hook {chain.hook.name}" if chain.hook else ""))
        lines += ["    " + "; ".join(e.words for e in rule) for rule in chain.rules]
    return lines


def test_the_program_for_two_vrfs_and_a_staged_revision() -> None:
    assert "\n".join(_lines(program(LAYOUT))) + "\n" == FILE.read_text()


def test_a_staged_revision_only_adds() -> None:
    with_it, without = (program(Layout(LAYOUT.zones, staged=s)) for s in (True, False))
    assert without.sets.items() < with_it.sets.items()
    changed = {n for n, c in without.chains.items() if with_it.chains[n] != c}
    names = ("log", "log_limited", "log_entry")
    assert changed == {f"{name}_{zone}" for name in names for zone in LAYOUT.zones}


def test_nothing_under_policy_is_no_program() -> None:
    assert program(Layout()) == Table()


if __name__ == "__main__":
    FILE.write_text("\n".join(_lines(program(LAYOUT))) + "\n")
